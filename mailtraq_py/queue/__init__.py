"""
The way out: outbound rows to the next hop.

schedule, nexthop, tlspolicy, connections, relay, bounce, runner.
"""
