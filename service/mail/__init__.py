"""The mails that the service sends: words, appearance, and the message around them."""
