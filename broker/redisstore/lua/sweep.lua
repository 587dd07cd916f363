-- Looks after one record whose expiry is due. KEYS: the expiries; the record; its list.
-- ARGV: its place in the expiries; its place in the list.
local left = redis.call('PTTL', KEYS[2])
if left >= 0 then
  -- It was written again and lives on. 1 ms more, so that the next look finds it gone.
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000) + left + 1, ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
if left == -2 then redis.call('ZREM', KEYS[3], ARGV[2]) end
return 1
