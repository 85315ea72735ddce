"""Rules of revision: which training photos the next network is trained on; `table` names them all."""
