"""
The operations by name: what may be asked of `Database.run` and `Database.read`.

Names and plain values cross threads (and, later, processes); functions do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .sql import (
    acceptance,
    accounts,
    content,
    decisions,
    flags,
    lists,
    logins,
    mailboxes,
    messages,
    notices,
    queue,
    recoverable,
    search,
    verify,
)
from .sql.rows import Written

READS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        acceptance.acceptance_trace,
        accounts.account_usage,
        accounts.find_account,
        accounts.find_account_by_id,
        accounts.find_alias,
        accounts.find_credentials,
        accounts.find_domain,
        accounts.first_domain,
        accounts.has_cram_secret,
        accounts.list_accounts,
        accounts.list_aliases,
        accounts.list_domains,
        content.content_place,
        content.known_contents,
        decisions.read_decisions,
        lists.find_account_lists,
        lists.find_list,
        lists.list_lists,
        lists.list_members,
        logins.find_logins,
        logins.find_logins_near,
        logins.list_logins,
        mailboxes.find_mailbox,
        mailboxes.list_mailboxes,
        mailboxes.list_subscriptions,
        messages.changes_after,
        messages.fetch_rows,
        messages.list_uids,
        messages.select_rows,
        messages.state_rows,
        messages.vanished_between,
        notices.last_notice,
        notices.notices_after,
        queue.count_queue,
        queue.list_queue,
        queue.next_ready,
        recoverable.deleted_mailboxes,
        recoverable.deleted_messages,
        recoverable.deletions,
        recoverable.find_recoverable,
        recoverable.living_copies,
        recoverable.oldest_deletion,
        recoverable.oldest_deletion_of,
        recoverable.purged_until,
        recoverable.recoverable_excess,
        recoverable.recoverable_octets,
        search.candidates,
        search.matches,
        verify.check_table,
        verify.contents_after,
        verify.count_contents,
        verify.file_contents,
        verify.homeless_messages,
        verify.list_all_mailboxes,
        verify.list_tables,
        verify.mailbox_counts,
        verify.message_digests,
        verify.queue_without_content,
        verify.stray_rows,
        verify.wrong_accounts,
        verify.wrong_counters,
        verify.wrong_messages,
        verify.wrong_references,
    )
}

WRITES: dict[str, Callable[..., Written]] = {
    function.__name__: function
    for function in (
        acceptance.accept,
        acceptance.expire_acceptances,
        accounts.add_accounts,
        accounts.add_alias,
        accounts.add_domain,
        accounts.delete_account,
        accounts.delete_alias,
        accounts.delete_domain,
        accounts.replace_credentials,
        accounts.set_account,
        decisions.expire_decisions,
        decisions.write_decisions,
        flags.store_flags,
        lists.add_members,
        lists.delete_list,
        lists.remove_members,
        lists.set_account_lists,
        lists.write_list,
        logins.expire_logins,
        logins.revoke_logins,
        logins.write_login,
        mailboxes.create_mailbox,
        mailboxes.delete_mailbox,
        mailboxes.purge_condemned,
        mailboxes.rename_mailbox,
        mailboxes.subscribe_mailbox,
        messages.claim_recent,
        messages.copy_messages,
        messages.expunge_messages,
        queue.delete_entries,
        queue.lease_rows,
        queue.release_rows,
        queue.settle_rows,
        recoverable.end_purge,
        recoverable.expire_deleted_mailboxes,
        recoverable.mend_recoverable,
        recoverable.purge_deletion,
        verify.delete_homeless,
        verify.delete_strays,
        verify.mend_message,
        verify.raise_counter,
        verify.recount_account,
        verify.recount_mailbox,
        verify.recount_references,
        verify.set_parts,
    )
}

# Operations that can share statements when several wait; each is in WRITES too, for one alone.
TOGETHER: dict[str, Callable[..., list[Written | Exception]]] = {
    "accept": acceptance.accept_together,
}
