"""Every node, and what is known of them: which Ray is joined, what its nodes have, what they hold."""
