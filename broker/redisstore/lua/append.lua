-- Gives appends of one shard their ids and numbers and puts them into its logs, each all or nothing.
-- KEYS: the shard's clock; then, each once, what the appends name: the bodies, or the log of events; the once key and the required
--       one, where it has them; the numbered logs; the others.
-- ARGV: how many entries an inbox keeps, 0 for all; '1' where the logs without numbers may have later entries of other shards; then for
--       each append: its head; the body, that begins with the rest of the id and the kind, or the event's payload; how
--       many ms the once key lives, 0 for ever, where it has one; for an event how many to keep, 0 for all.
--       A head is the proposed clock (8 bytes), the rest of the id (4), the kind (1), e(vent) or m(essage), o(nce) or
--       O(nce, and more is to follow) or -, r(equire) or -, x (this id or none) or -, how many keys it names (1), how many logs are
--       numbered (1), the first of those that are inboxes, from 1 (1), and the places of its keys in KEYS (2 each).
-- Answers for each append: A id numbers (6 bytes each; behind that of a log that is no inbox the id before); D value: the once key is set; R: the required record is absent;
--       E: this id is there already; B clock: this id is behind the shard's clock; X and why: it failed.
local inboxKeep, mixed = tonumber(ARGV[1]), ARGV[2] == '1'
local ms, seq = 0, 0
local clock = redis.call('GET', KEYS[1])
if clock then ms, seq = struct.unpack('>I6I2', clock) end
local moved = false

local none = string.rep('\0', 12)

-- A log gets its first entry here at once, which proves that it is a log; those behind it wait, to be pushed together at the end.
-- By place in KEYS: what waits (false: nothing yet), how many to keep, the last number and id.
local waiting, keeps, numbers, ids = {}, {}, {}, {}
local queued = {}

local function flush()
  for _, at in ipairs(queued) do
    push(KEYS[at], keeps[at], unpack(waiting[at]))
    waiting[at] = false
  end
  queued = {}
end

local function add(at, entry, keep)
  local rest = waiting[at]
  if rest then
    rest[#rest + 1] = entry
  elseif rest == false then
    waiting[at] = {entry}
    queued[#queued + 1] = at
  else
    push(KEYS[at], keep, entry)
    waiting[at], keeps[at] = false, keep
  end
end

-- Adds to a log with numbers. Returns the number that the entry gets, and the id before it.
local function put(at, id, mark, tail, counts, keep)
  local n, previous = numbers[at], ids[at]
  if not n then
    n, previous = 0, none
    local last = redis.call('LINDEX', KEYS[at], -1)
    if last then n, previous = struct.unpack('>I6', last, 14), string.sub(last, 1, 12) end
  end
  n = n + counts
  local number = struct.pack('>I6', n)
  add(at, id .. mark .. number .. tail, keep)
  numbers[at], ids[at] = n, id
  return number, previous
end

local function one(head, body, onceFor, eventKeep)
  local kind, what, hasOnce, hasRequire, exact, count, numbered, inboxes = string.byte(head, 13, 20)
  local k = 0
  local function nextKey()
    local high, low = string.byte(head, 21 + 2 * k, 22 + 2 * k)
    k = k + 1
    return 256 * high + low
  end
  local log, once = nextKey(), nil
  if hasOnce ~= 45 then
    once = KEYS[nextKey()]
    local stands = redis.call('GET', once)
    if stands then return 'D' .. stands end
  end
  if hasRequire == 114 then
    if redis.call('EXISTS', KEYS[nextKey()]) == 0 then return 'R' end
  end
  local pms, pseq = struct.unpack('>I6I2', head)
  local rest = string.sub(head, 9, 12)
  if pms > ms or pms == ms and pseq > seq then
    ms, seq = pms, pseq
  elseif exact == 120 then
    local found
    if what == 101 then
      flush()
      found = find(KEYS[log], string.sub(head, 1, 12))
    else
      local at = string.format('%d-%d', pms, pseq)
      found = redis.call('XRANGE', KEYS[log], at, at)[1]
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
  local answer = 'A' .. id
  if what == 101 then
    answer = answer .. (put(log, id, mark, body, 1, eventKeep))
  else
    redis.call('XADD', KEYS[log], string.format('%d-%d', ms, seq), 'b', body)
    local counts = kind == 0 and 1 or 0
    for i = 1, numbered do
      local number, previous = put(nextKey(), id, mark, '', counts, i >= inboxes and inboxKeep or 0)
      answer = answer .. number
      if i < inboxes then answer = answer .. previous end
    end
    while k < count do
      if mixed then insert(KEYS[nextKey()], id .. mark) else add(nextKey(), id .. mark, 0) end
    end
  end
  if once then
    local stands = hasOnce == 79 and id .. 'p' or id
    if onceFor == '0' then redis.call('SET', once, stands) else redis.call('SET', once, stands, 'PX', onceFor) end
  end
  return answer
end

local answers, v = {}, 3
while v <= #ARGV do
  local head, body = ARGV[v], ARGV[v + 1]
  local what, hasOnce = string.byte(head, 14, 15)
  v = v + 2
  local onceFor, eventKeep
  if hasOnce ~= 45 then onceFor, v = ARGV[v], v + 1 end
  if what == 101 then eventKeep, v = tonumber(ARGV[v]), v + 1 end
  local ok, answer = pcall(one, head, body, onceFor, eventKeep)
  if not ok then answer = 'X' .. tostring(type(answer) == 'table' and answer.err or answer) end
  answers[#answers + 1] = answer
end
flush()
if moved then redis.call('SET', KEYS[1], struct.pack('>I6I2', ms, seq)) end
return answers
