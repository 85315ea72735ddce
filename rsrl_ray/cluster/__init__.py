"""Mistakes in a cluster file, found before `ray up` asks the cloud."""
