-- Removes the entries of a log before an id, but the last of the log, which tells how far its numbers came.
-- KEYS: the log. ARGV: the id. Answers how many.
local size = redis.call('LLEN', KEYS[1])
local gone = math.min(before(KEYS[1], size, ARGV[1]), size - 1)
if gone < 1 then return 0 end
redis.call('LTRIM', KEYS[1], gone, -1)
return gone
