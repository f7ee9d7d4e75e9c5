-- Attaches labels to their predictions, or keeps them until these arrive.
-- {one letter a label, model numbers (0: none or several), names of the models, positions of ambiguous labels with
-- the numbers of their models}

local labels, keep_ms, most_rows = cmsgpack.unpack(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()

local ids, seen = {}, {}
for _, label in ipairs(labels) do
  if not seen[label[1]] then
    seen[label[1]] = true
    ids[#ids + 1] = label[1]
  end
end

-- scored[id] = {{model = number, places = {{stream, arrival}, …}, label = text or nil}, …}
local scored, models, number_of = {}, {}, {}
for _, stream in ipairs(streams_of()) do
  local model = number_of[stream[3]]
  if not model then
    models[#models + 1] = stream[3]
    model = #models
    number_of[stream[3]] = model
  end
  for i, value in ipairs(fetch(P .. 's' .. stream[2] .. ':ids', ids)) do
    if value then
      local of_id = scored[ids[i]] or {}
      scored[ids[i]] = of_id
      local entry
      for _, known in ipairs(of_id) do
        if known.model == model then entry = known end
      end
      if not entry then
        entry = {model = model, places = {}}
        of_id[#of_id + 1] = entry
      end
      local arrival = arrival_of(value)
      entry.places[#entry.places + 1] = {stream[2], arrival}
      entry.label = entry.label or redis.call('HGET', P .. 'l' .. arrival, ids[i]) or nil
    end
  end
end

local function same_label(stored, label) return string.match(stored, '^%S+ (.*)$') == label end

local counts = {} -- new labels by stream and arrival, written at the end

local function attach(entry, id, text_of_label)
  entry.label = text_of_label
  for _, place in ipairs(entry.places) do
    redis.call('HSET', P .. 'l' .. place[2], id, text_of_label)
    local of_stream = counts[place[1]] or {}
    counts[place[1]] = of_stream
    of_stream[place[2]] = (of_stream[place[2]] or 0) + 1
  end
end

local function keep_early(id, about, text_of_label, label)
  local field = with_length(about, id)
  local stands = redis.call('HGET', P .. 'early', field)
  if stands then
    return same_label(string.match(stands, '^%d+ (.*)$'), label) and 'd' or 'c'
  end
  local order = redis.call('INCR', P .. 'early:number')
  redis.call('HSET', P .. 'early', field, text(order) .. ' ' .. text_of_label)
  redis.call('ZADD', P .. 'early:expiry', text(now + keep_ms), field)
  return 'e'
end

local fates, owners, ambiguous = {}, {}, {}
for i, label in ipairs(labels) do
  local id, value, time, about = label[1], label[2], label[3], label[4]
  local text_of_label = time .. ' ' .. value
  local meant = {}
  for _, entry in ipairs(scored[id] or {}) do
    if about == '' or models[entry.model] == about then meant[#meant + 1] = entry end
  end
  owners[i] = #meant == 1 and meant[1].model or 0
  if #meant > 1 then
    local numbers = {}
    for j, entry in ipairs(meant) do numbers[j] = entry.model end
    ambiguous[#ambiguous + 1] = {i - 1, numbers}
    fates[i] = 'a'
  elseif #meant == 0 then
    fates[i] = keep_early(id, about, text_of_label, value)
  elseif not meant[1].label then
    attach(meant[1], id, text_of_label)
    fates[i] = 'm'
  else
    fates[i] = same_label(meant[1].label, value) and 'd' or 'c'
  end
end
for stream, of_stream in pairs(counts) do
  for arrival, n in pairs(of_stream) do redis.call('HINCRBY', P .. 's' .. stream .. ':labelled', arrival, n) end
end
clean(now, most_rows, 2000)
return {table.concat(fates), cmsgpack.pack(owners), models, cmsgpack.pack(ambiguous)}
