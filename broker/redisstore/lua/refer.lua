-- Puts a reference to a message of another shard at the end of an inbox.
-- KEYS: the inbox; its shard's clock. ARGV: id; kind; how many entries an inbox keeps, 0 for all.
-- Answers: A number: it is there now, or was; B clock: the inbox has gone on past this id.
local inbox, id = KEYS[1], ARGV[1]
local last = redis.call('LINDEX', inbox, -1)
local n = 1
local a, b = struct.unpack('>I6I6', id)
if last then
  local c, d = struct.unpack('>I6I6', last)
  if c > a or c == a and d >= b then
    local here = find(inbox, id)
    if here and string.byte(here, 13) ~= 254 then return 'A' .. string.sub(here, 14, 19) end
    return 'B' .. string.sub(last, 1, 8)
  end
  n = n + struct.unpack('>I6', last, 14)
end
n = struct.pack('>I6', n)
push(inbox, tonumber(ARGV[3]), id .. ARGV[2] .. n)
-- The shard gives this inbox no id below this one any more.
local clock = redis.call('GET', KEYS[2])
local mine = string.sub(id, 1, 8)
if clock then
  local cms, cseq = struct.unpack('>I6I2', clock)
  local ms, seq = struct.unpack('>I6I2', mine)
  if ms > cms or ms == cms and seq > cseq then clock = nil end
end
if not clock then redis.call('SET', KEYS[2], mine) end
return 'A' .. n
