-- Reads a stretch of a log. KEYS: the log. ARGV: 1 the id behind which it starts, 2 that before which it ends, each empty for open;
--       3 how many at most; 4 '1' for the last ones of the stretch, else the first.
-- Answers the entries in their order.
local size = redis.call('LLEN', KEYS[1])
local first, last = 0, size
if ARGV[1] ~= '' then first = before(KEYS[1], size, ARGV[1], true) end
if ARGV[2] ~= '' then last = before(KEYS[1], size, ARGV[2]) end
if ARGV[4] == '1' then first = math.max(first, last - ARGV[3]) else last = math.min(last, first + ARGV[3]) end
if first >= last then return {} end
return redis.call('LRANGE', KEYS[1], first, last - 1)
