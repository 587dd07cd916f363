-- Empties a numbered log: what stays is a mark with its last id and number. KEYS: the log.
local last = redis.call('LINDEX', KEYS[1], -1)
if not last then return 0 end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], string.sub(last, 1, 12) .. '\254' .. string.sub(last, 14, 19))
return 1
