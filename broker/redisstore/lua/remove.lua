-- Removes one body. KEYS: the bodies. ARGV: its place; the rest of its id.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found or string.sub(found[2][2], 1, 4) ~= ARGV[2] then return 0 end
return redis.call('XDEL', KEYS[1], ARGV[1])
