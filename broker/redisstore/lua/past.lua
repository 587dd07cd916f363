-- Puts a message that came from elsewhere where its id belongs.
-- KEYS: the bodies of the past; its entries; the other logs of this shard. ARGV: id; entry; body.
-- Answers 1: it is there now; 0: it was.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[3]) == 0 then return 0 end
for i = 2, #KEYS do redis.call('ZADD', KEYS[i], 0, ARGV[2]) end
return 1
