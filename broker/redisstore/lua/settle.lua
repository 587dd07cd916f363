-- Ends a claim. KEYS: the once key. ARGV: 1 the claim; 2 what stands from now on, empty to give it up.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
