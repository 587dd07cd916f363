-- What scripts share that work on logs: lists whose entries begin with their id, in the order of ids.

-- Says how many entries of a log are before an id; with also that of the id itself too. It looks from the end, where most is asked.
local function before(log, size, id, also)
  local a, b = struct.unpack('>I6I6', id)
  local low, high, step = 0, size, 1
  local function isBefore(at)
    local c, d = struct.unpack('>I6I6', redis.call('LINDEX', log, at))
    return c < a or c == a and (d < b or also and d == b)
  end
  while low < high do
    local at = math.max(size - step, 0)
    if isBefore(at) then
      low = at + 1
      break
    end
    high, step = at, step * 2
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if isBefore(middle) then low = middle + 1 else high = middle end
  end
  return low
end

-- Returns the entry of an id, or nil.
local function find(log, id)
  local size = redis.call('LLEN', log)
  local here = redis.call('LINDEX', log, before(log, size, id))
  return here and string.sub(here, 1, 12) == id and here or nil
end

-- Puts an entry into a log without numbers at its place, which may be before the last, unless it is there already.
local function insert(log, entry)
  local size = redis.call('LLEN', log)
  local at = before(log, size, entry)
  if at == size then
    redis.call('RPUSH', log, entry)
    return
  end
  local behind = redis.call('LRANGE', log, at, -1)
  if string.sub(behind[1], 1, 12) == string.sub(entry, 1, 12) then return end
  if at == 0 then redis.call('DEL', log) else redis.call('LTRIM', log, 0, at - 1) end
  redis.call('RPUSH', log, entry)
  for _, e in ipairs(behind) do redis.call('RPUSH', log, e) end
end

-- Puts entries at the end of a log and trims it to about keep entries, 0 for all.
local function push(log, keep, ...)
  local size = redis.call('RPUSH', log, ...)
  if keep > 0 and size > keep + keep / 8 + 8 then redis.call('LTRIM', log, -keep, -1) end
end
