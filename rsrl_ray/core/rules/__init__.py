"""Rules of revision: they choose the training photos of the next network. One file each; `table` names them all."""
