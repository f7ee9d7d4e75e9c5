-- Stores a batch of rows that are believed to be new, or says why it did not.
-- {'applied', arrival, token, matched}: a batch of this id is there, from the attempt with this token;
-- {'known', positions, hashes}: these rows are there, nothing was stored; {'stored', arrival, matched}.

local batch_id, name, ids, hashes = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3]), ARGV[4]
local hours, summaries, narrow, rows = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local digest, schema, arrived_us = ARGV[9], ARGV[10], ARGV[11]
local keep_ms, most_rows, token, layout = tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14], ARGV[15]
local model, n = name_in(name), #ids

local before = redis.call('HGET', P .. 'batches', batch_id)
if before then
  local found = redis.call('HMGET', P .. 'm' .. before, 'token', 'matched')
  return {'applied', before, found[1], found[2]}
end

local stream = redis.call('HGET', P .. 'streams', name)
if stream then
  local positions, contents = {}, {}
  local found = fetch(P .. 's' .. stream .. ':ids', ids)
  for i = 1, n do
    local value = found[i]
    if value then
      positions[#positions + 1] = i - 1
      contents[#contents + 1] = string.sub(value, 1, 8)
    end
  end
  if #positions > 0 then return {'known', cmsgpack.pack(positions), table.concat(contents)} end
end

-- Arrival numbers go on upwards even where the server was emptied: the marks of the ledger are among them.
local now = now_ms()
local last = tonumber(redis.call('GET', P .. 'arrival') or 0)
local arrival = text(math.max(last + 1, now - FIRST_MOMENT_MS))
-- The first write. A server that is out of memory refuses it, and nothing has been changed.
redis.call('SET', P .. 'arrival', arrival)
redis.call('SETNX', P .. 'layout', layout)
if not stream then
  stream = text(redis.call('INCR', P .. 'stream'))
  redis.call('HSET', P .. 'streams', name, stream)
end
local own = P .. 's' .. stream

-- The label that stands for each id: the first of those that came early, else that of another version.
local function waiting_labels()
  local labels = {}
  if redis.call('EXISTS', P .. 'early') == 1 then
    local used, first = {}, {}
    for _, about in ipairs({'', model}) do
      local fields = {}
      for i = 1, n do fields[i] = with_length(about, ids[i]) end
      for i, value in ipairs(fetch(P .. 'early', fields)) do
        if value then
          local order, label = string.match(value, '^(%d+) (.*)$')
          order = tonumber(order)
          if not first[i] or order < first[i] then labels[i], first[i] = label, order end
          used[#used + 1] = fields[i]
        end
      end
    end
    drop_fields(P .. 'early', used)
    for _, field in ipairs(used) do redis.call('ZREM', P .. 'early:expiry', field) end
  end
  for _, other in ipairs(streams_of(model)) do
    local theirs = P .. 's' .. other[2]
    if other[2] ~= stream and redis.call('EXISTS', theirs .. ':labelled') == 1 then
      for i, value in ipairs(fetch(theirs .. ':ids', ids)) do
        if value and not labels[i] then
          labels[i] = redis.call('HGET', P .. 'l' .. arrival_of(value), ids[i]) or nil
        end
      end
    end
  end
  return labels
end

local matched = 0
if n > 0 then
  for i, label in pairs(waiting_labels()) do
    redis.call('HSET', P .. 'l' .. arrival, ids[i], label)
    matched = matched + 1
  end
  if matched > 0 then redis.call('HSET', own .. ':labelled', arrival, matched) end
  local sub, id_key = string.sub, own .. ':ids'
  for first = 1, n, CHUNK do
    local fields, last = {}, math.min(first + CHUNK - 1, n)
    for i = first, last do
      fields[2 * (i - first) + 1] = ids[i]
      fields[2 * (i - first) + 2] = sub(hashes, 8 * i - 7, 8 * i) .. arrival
    end
    redis.call('HSET', id_key, unpack(fields))
  end
end

local at = 1
for hour in string.gmatch(hours, '%S+') do
  redis.call('HSET', own .. ':h' .. hour, arrival, string.sub(summaries, at, at + 63))
  redis.call('ZADD', own .. ':hours', hour, hour)
  at = at + 64
end

redis.call('HSET', P .. 'batches', batch_id, arrival)
redis.call('HSET', P .. 'm' .. arrival, 'stream', stream, 'name', name, 'batch', batch_id, 'n', n, 'ids', ARGV[3],
  'hashes', hashes, 'hours', hours, 'arrived_us', arrived_us, 'token', token,
  'matched', matched, 'revision', 0)
redis.call('ZADD', P .. 'order', arrival, arrival)
redis.call('ZADD', P .. 'arrived', arrived_us, arrival)
redis.call('ZADD', P .. 'expiry', text(now + keep_ms), arrival)
if n > 0 then
  redis.call('HSET', P .. 'b' .. arrival, 'narrow', narrow, 'rows', rows, 'schema', digest, 'revision', 0)
  redis.call('PEXPIRE', P .. 'b' .. arrival, text(keep_ms))
  redis.call('HSET', P .. 'm' .. arrival, 'schema', digest)
  redis.call('HSETNX', P .. 'schemas', digest, schema)
  redis.call('HINCRBY', P .. 'schemas:uses', digest, 1)
  redis.call('HSET', own .. ':featured', arrival, batch_id)
  redis.call('ZADD', P .. 'arrived:rows', arrived_us, arrival)
  redis.call('INCRBY', P .. 'rows', n)
end
clean(now, most_rows, math.max(2 * n, 2000))
return {'stored', arrival, matched}
