"""Rules of revision: which training photos the next network is trained on; one file each, `table` names them all."""
