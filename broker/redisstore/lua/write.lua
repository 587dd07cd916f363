-- Sets or removes a record. KEYS: the record; where it is listed, its list; where it also expires, the shard's expiries.
--       After them, where it is guarded, the guard.
-- ARGV: 1 condition (0 always, 1 if absent, 2 if equal); 2 what it must be equal to; 3 s(et) or r(emove); 4 value;
--       5 how many ms it lives, 0 for ever; 6 its place in the list; 7 its place in the expiries; 8 what the guard must
--       hold, where there is one.
-- Answers 0: done; 1: there was none; else the value that stands.
local keys = #KEYS
if ARGV[8] then
  local guard = redis.call('GET', KEYS[keys])
  if not guard or not string.find(guard, ARGV[8], 1, true) then return 1 end
  keys = keys - 1
end
local old = redis.call('GET', KEYS[1])
if ARGV[1] == '1' and old then return old end
if ARGV[1] == '2' and old ~= ARGV[2] then return old or 1 end
if ARGV[3] == 'r' then
  if old then
    redis.call('DEL', KEYS[1])
    if keys > 1 then redis.call('ZREM', KEYS[2], ARGV[6]) end
  end
  return 0
end
if ARGV[5] == '0' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
  if keys > 2 then
    local now = redis.call('TIME')
    redis.call('ZADD', KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[5], ARGV[7])
  end
end
if keys > 1 and not old then redis.call('ZADD', KEYS[2], 0, ARGV[6]) end
return 0
