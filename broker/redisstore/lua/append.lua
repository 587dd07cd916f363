-- Gives appends of one shard their ids and numbers and puts them into its logs, each all or nothing.
-- KEYS: the shard's clock; then for each append: the bodies, or the log of events; the once key and the required one, where
--       it has them; the numbered logs; the others.
-- ARGV: how many entries an inbox keeps, 0 for all; '1' where the logs without numbers may have later entries of other shards; then for each append: its head; the body, or the event's payload; the
--       expiry of the once key, 0 for never, where it has one; for an event how many to keep, 0 for all.
--       A head is the proposed clock (8 bytes), the rest of the id (4), the kind (1), e(vent) or m(essage), o(nce) or
--       O(nce, and more is to follow) or -, r(equire) or -, x (this id or none) or -, how many keys it has (1), how many logs are numbered (1), the first of those that
--       are inboxes, from 1 (1).
-- Answers for each append: A id numbers (6 bytes each; behind that of a log that is no inbox the id before); D value: the once key is set; R: the required record is absent;
--       E: this id is there already; B clock: this id is behind the shard's clock; X and why: it failed.
local inboxKeep, mixed = tonumber(ARGV[1]), ARGV[2] == '1'
local ms, seq = 0, 0
local clock = redis.call('GET', KEYS[1])
if clock then ms, seq = struct.unpack('>I6I2', clock) end
local moved = false
local k, v = 2, 3

local none = string.rep('\0', 12)

local function put(log, entry, tail, counts, keep)
  local last = redis.call('LINDEX', log, -1)
  local n, previous = counts, none
  if last then n, previous = n + struct.unpack('>I6', last, 14), string.sub(last, 1, 12) end
  n = struct.pack('>I6', n)
  push(log, entry .. n .. tail, keep)
  return n, previous
end

local function one(head, body, first, last, onceExpiry, eventKeep)
  local kind, what, hasOnce, hasRequire, exact, _, numbered, inboxes = string.byte(head, 13, 20)
  local log, k, once = KEYS[first], first + 1, nil
  if hasOnce ~= 45 then
    once = KEYS[k]
    k = k + 1
    local stands = redis.call('GET', once)
    if stands then return 'D' .. stands end
  end
  if hasRequire == 114 then
    if redis.call('EXISTS', KEYS[k]) == 0 then return 'R' end
    k = k + 1
  end
  local pms, pseq = struct.unpack('>I6I2', head)
  local rest = string.sub(head, 9, 12)
  if pms > ms or pms == ms and pseq > seq then
    ms, seq = pms, pseq
  elseif exact == 120 then
    local found
    if what == 101 then
      found = find(log, string.sub(head, 1, 12))
    else
      local at = string.format('%d-%d', pms, pseq)
      found = redis.call('XRANGE', log, at, at)[1]
      found = found and string.sub(found[2][2], 1, 4) == rest
    end
    return found and 'E' or 'B' .. struct.pack('>I6I2', ms, seq)
  else
    seq = seq + 1
    if seq > 65535 then ms, seq = ms + 1, 0 end
  end
  moved = true
  local id = struct.pack('>I6I2', ms, seq) .. rest
  local mark = string.char(kind)
  local entry = id .. mark
  local answer = 'A' .. id
  if what == 101 then
    answer = answer .. (put(log, entry, body, 1, eventKeep))
  else
    redis.call('XADD', log, string.format('%d-%d', ms, seq), 'b', rest .. mark .. body)
    local counts = kind == 0 and 1 or 0
    for i = 1, numbered do
      local number, previous = put(KEYS[k], entry, '', counts, i >= inboxes and inboxKeep or 0)
      answer = answer .. number
      if i < inboxes then answer = answer .. previous end
      k = k + 1
    end
    for i = k, last do
      if mixed then insert(KEYS[i], entry) else redis.call('RPUSH', KEYS[i], entry) end
    end
  end
  if once then
    local stands = hasOnce == 79 and id .. 'p' or id
    if onceExpiry == '0' then redis.call('SET', once, stands) else redis.call('SET', once, stands, 'PXAT', onceExpiry) end
  end
  return answer
end

local answers, n = {}, 0
while v <= #ARGV do
  local head, body = ARGV[v], ARGV[v + 1]
  local _, what, hasOnce, _, _, count = string.byte(head, 13, 18)
  v = v + 2
  local onceExpiry, eventKeep
  if hasOnce ~= 45 then onceExpiry, v = ARGV[v], v + 1 end
  if what == 101 then eventKeep, v = tonumber(ARGV[v]), v + 1 end
  local ok, answer = pcall(one, head, body, k, k + count - 1, onceExpiry, eventKeep)
  if not ok then answer = 'X' .. tostring(type(answer) == 'table' and answer.err or answer) end
  n = n + 1
  answers[n] = answer
  k = k + count
end
if moved then redis.call('SET', KEYS[1], struct.pack('>I6I2', ms, seq)) end
return answers
