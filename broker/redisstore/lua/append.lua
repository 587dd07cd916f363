-- Gives an append its id and its numbers and puts it into the logs of one shard, all or nothing.
-- KEYS: the shard's clock; the bodies, or the log of events; the once key and the required one where ARGV[5] says so;
--       then the numbered logs; then the others.
-- ARGV: 1 proposed clock (8 bytes); 2 the rest of the id (4 bytes); 3 kind (1 byte); 4 body or payload;
--       5 four letters: e(vent) or m(essage), o(nce) or -, r(equire) or -, x (this id or none) or -;
--       6 expiry of the once key, 0 for never; 7 how many logs are numbered; 8 which of them is first to be trimmed, from 1;
--       9 how many entries a trimmed log keeps, 0 for all.
-- Answers: A id numbers (6 bytes each); D value: the once key is set; R: the required record is absent;
--          E: this id is there already; B clock: this id is behind the shard's clock.
local isEvent, hasOnce, hasRequire, exact = string.byte(ARGV[5], 1, 4)
local k, once = 3, nil
if hasOnce == 111 then
  once = KEYS[k]
  k = k + 1
  local first = redis.call('GET', once)
  if first then return 'D' .. first end
end
if hasRequire == 114 then
  if redis.call('EXISTS', KEYS[k]) == 0 then return 'R' end
  k = k + 1
end
local ms, seq = struct.unpack('>I6I2', ARGV[1])
local clock = redis.call('GET', KEYS[1])
if clock then
  local cms, cseq = struct.unpack('>I6I2', clock)
  if cms > ms or cms == ms and cseq >= seq then
    if exact == 120 then
      local id = ARGV[1] .. ARGV[2]
      local found
      if isEvent == 101 then
        found = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. id, '(' .. id .. '\255', 'LIMIT', 0, 1)[1]
      else
        local at = string.format('%.0f-%.0f', ms, seq)
        found = redis.call('XRANGE', KEYS[2], at, at)[1]
        found = found and string.sub(found[2][2], 1, 4) == ARGV[2]
      end
      return found and 'E' or 'B' .. clock
    end
    ms, seq = cms, cseq + 1
    if seq > 65535 then ms, seq = ms + 1, 0 end
  end
end
clock = struct.pack('>I6I2', ms, seq)
redis.call('SET', KEYS[1], clock)
local id = clock .. ARGV[2]
local entry = id .. ARGV[3]
local keep = tonumber(ARGV[9])
local function number(log, suffix, counts, trimmed)
  local last = redis.call('ZRANGE', log, -1, -1)[1]
  local n = counts
  if last then n = n + struct.unpack('>I6', last, 14) end
  n = struct.pack('>I6', n)
  redis.call('ZADD', log, 0, entry .. n .. suffix)
  if trimmed and keep > 0 then
    local size = redis.call('ZCARD', log)
    if size > keep + keep / 8 + 8 then redis.call('ZREMRANGEBYRANK', log, 0, size - keep - 1) end
  end
  return n
end
local answer = 'A' .. id
if isEvent == 101 then
  answer = answer .. number(KEYS[2], ARGV[4], 1, true)
else
  redis.call('XADD', KEYS[2], string.format('%.0f-%.0f', ms, seq), 'b', ARGV[2] .. ARGV[3] .. ARGV[4])
  local numbered, trim = tonumber(ARGV[7]), tonumber(ARGV[8])
  local counts = string.byte(ARGV[3]) == 0 and 1 or 0
  for i = 1, numbered do
    answer = answer .. number(KEYS[k], '', counts, i >= trim)
    k = k + 1
  end
  for i = k, #KEYS do redis.call('ZADD', KEYS[i], 0, entry) end
end
if once then
  if ARGV[6] == '0' then redis.call('SET', once, id) else redis.call('SET', once, id, 'PXAT', ARGV[6]) end
end
return answer
