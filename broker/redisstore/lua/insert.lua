-- Puts a message into a log without numbers of another shard. KEYS: the log. ARGV: the entry.
insert(KEYS[1], ARGV[1])
return 1
