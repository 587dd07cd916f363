-- Makes an emptied log, where there is none. KEYS: the log. ARGV: the mark with its last id and number.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('RPUSH', KEYS[1], ARGV[1])
