-- Deletes the early labels of ids and says which batches hold predictions of them: {arrival, …}.
-- ARGV: ids, the model or '' for all.

local ids, model = cmsgpack.unpack(ARGV[1]), ARGV[2]
local wanted, arrivals, listed = {}, {}, {}
for _, id in ipairs(ids) do wanted[id] = true end
for _, field in ipairs(redis.call('HKEYS', P .. 'early')) do
  local about = name_in(field)
  if wanted[string.sub(field, #with_length(about, '') + 1)] and (model == '' or about == '' or about == model) then
    redis.call('HDEL', P .. 'early', field)
    redis.call('ZREM', P .. 'early:expiry', field)
  end
end
for _, stream in ipairs(streams_of(model ~= '' and model or nil)) do
  for _, value in ipairs(fetch(P .. 's' .. stream[2] .. ':ids', ids)) do
    local arrival = value and arrival_of(value)
    if arrival and not listed[arrival] then
      listed[arrival] = true
      arrivals[#arrivals + 1] = arrival
    end
  end
end
return arrivals
