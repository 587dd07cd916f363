-- Removes the messages of the past before an id. KEYS: the entries; the bodies. ARGV: the id. Answers how many.
local gone = redis.call('ZRANGEBYLEX', KEYS[1], '-', '(' .. ARGV[1])
for _, entry in ipairs(gone) do redis.call('HDEL', KEYS[2], string.sub(entry, 1, 12)) end
if #gone > 0 then redis.call('ZREMRANGEBYLEX', KEYS[1], '-', '(' .. ARGV[1]) end
return #gone
