-- Reserves a once key of another shard for an id, before the append is tried under exactly that id.
-- KEYS: the once key. ARGV: 1 the id and 'p' for pending, empty to look only; 2 how many ms it lives, 0 for ever;
--       3 the claim that this one replaces, or empty.
-- Answers the value that stands in the way, or nil: claimed.
local stands = redis.call('GET', KEYS[1])
if stands and stands ~= ARGV[3] then return stands end
if ARGV[1] == '' then return false end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return false
