-- Put before every script. KEYS[1] is the beginning of all keys, with the hash tag: all lie in one slot.
-- Numbers of Lua are doubles: times in microseconds and content hashes pass through as text or bytes.

local P = KEYS[1]
local FIRST_MOMENT_MS = 1767225600000 -- 2026-01-01: arrival numbers are milliseconds since then, or one more than the last
local CHUNK = 2000 -- values that are passed to one command; Lua's stack holds 8000

local function text(number) return string.format('%.0f', number) end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The length before the name tells where it ends, whatever it holds.
local function with_length(name, rest) return #name .. ':' .. name .. rest end

local function name_in(joined)
  local length, begin = string.match(joined, '^(%d+):()')
  return string.sub(joined, begin, begin + length - 1)
end

-- {value or false, …} of the fields of a hash.
local function fetch(key, fields)
  if #fields == 0 then return {} end
  if #fields <= CHUNK then return redis.call('HMGET', key, unpack(fields)) end
  local values = {}
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local found = redis.call('HMGET', key, unpack(fields, first, last))
    for i = 1, #found do values[first + i - 1] = found[i] end
  end
  return values
end

local function drop_fields(key, fields)
  for first = 1, #fields, CHUNK do
    redis.call('HDEL', key, unpack(fields, first, math.min(first + CHUNK - 1, #fields)))
  end
end

-- Streams as {{name, number, model}, …}; of one model, or of all.
local function streams_of(model)
  local found, all = {}, redis.call('HGETALL', P .. 'streams')
  for i = 1, #all, 2 do
    local own = name_in(all[i])
    if not model or own == model then found[#found + 1] = {all[i], all[i + 1], own} end
  end
  return found
end

-- The value of an id is its content hash (8 bytes) and the arrival number of its batch.
local function arrival_of(value) return string.sub(value, 9) end

local function release_schema(digest)
  if digest and redis.call('HINCRBY', P .. 'schemas:uses', digest, -1) <= 0 then
    redis.call('HDEL', P .. 'schemas:uses', digest)
    redis.call('HDEL', P .. 'schemas', digest)
  end
end

local function drop_features(arrival, stream, schema)
  redis.call('ZREM', P .. 'arrived:rows', arrival)
  redis.call('HDEL', P .. 's' .. stream .. ':featured', arrival)
  redis.call('HDEL', P .. 'b' .. arrival, 'rows', 'schema')
  redis.call('HDEL', P .. 'm' .. arrival, 'schema')
  release_schema(schema)
end

-- Deletes a batch with all that points to it; the number of its rows, and whether it still had features.
local function drop_batch(arrival)
  local meta = P .. 'm' .. arrival
  local found = redis.call('HMGET', meta, 'stream', 'n', 'batch', 'ids', 'hours', 'schema', 'name')
  local stream, n = found[1], tonumber(found[2] or 0)
  redis.call('DEL', P .. 'b' .. arrival, P .. 'l' .. arrival)
  for _, index in ipairs({'order', 'expiry', 'arrived', 'arrived:rows'}) do
    redis.call('ZREM', P .. index, arrival)
  end
  if not stream then return 0, false end
  local own = P .. 's' .. stream
  redis.call('HDEL', P .. 'batches', found[3])
  drop_fields(own .. ':ids', cmsgpack.unpack(found[4]))
  for hour in string.gmatch(found[5], '%S+') do
    local summaries = own .. ':h' .. hour
    redis.call('HDEL', summaries, arrival)
    if redis.call('EXISTS', summaries) == 0 then redis.call('ZREM', own .. ':hours', hour) end
  end
  redis.call('HDEL', own .. ':featured', arrival)
  redis.call('HDEL', own .. ':labelled', arrival)
  release_schema(found[6])
  redis.call('DEL', meta)
  redis.call('INCRBY', P .. 'rows', -n)
  if redis.call('EXISTS', own .. ':ids', own .. ':hours') == 0 then redis.call('HDEL', P .. 'streams', found[7]) end
  return n, found[6] and true
end

local function tell(reason, n, now)
  if n > 0 then
    redis.call('HINCRBY', P .. 'fallen', reason, n)
    redis.call('HSET', P .. 'fallen', reason .. ':at', text(now))
  end
end

-- Deletes what is too old, then what is too much, the oldest first, and stops after about `budget` rows.
-- The rows deleted, and 1 when there may be more to delete.
local function clean(now, most_rows, budget)
  local deleted, aged, crowded = 0, 0, 0
  local early = redis.call('ZRANGEBYSCORE', P .. 'early:expiry', '-inf', text(now), 'LIMIT', 0, 1000)
  if #early > 0 then
    redis.call('HDEL', P .. 'early', unpack(early))
    redis.call('ZREM', P .. 'early:expiry', unpack(early))
    tell('early', #early, now)
  end
  local more = #early == 1000
  while not more do
    local old = redis.call('ZRANGEBYSCORE', P .. 'expiry', '-inf', text(now), 'LIMIT', 0, 1)[1]
    local over = not old and tonumber(redis.call('GET', P .. 'rows') or 0) > most_rows
    local arrival = old or (over and redis.call('ZRANGE', P .. 'order', 0, 0)[1])
    if not arrival then break end
    if budget <= 0 then more = true break end
    local n = drop_batch(arrival)
    budget = budget - n - 10
    deleted = deleted + n
    if old then aged = aged + n else crowded = crowded + n end
  end
  tell('age', aged, now)
  tell('count', crowded, now)
  return deleted, more and 1 or 0
end
