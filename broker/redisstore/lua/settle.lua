-- Ends the pending value of a once key. KEYS: the once key. ARGV: 1 the pending value; 2 what stands from now on, empty for none.
-- Answers 1: so it stands, or nothing any more; 0: another's stands.
local stands = redis.call('GET', KEYS[1])
if not stands or stands == ARGV[2] then return 1 end
if stands ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
return 1
