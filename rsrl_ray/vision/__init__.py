"""Networks and one round of training; nobody else imports torch."""
