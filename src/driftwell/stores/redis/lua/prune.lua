-- Deletes the features of batches that arrived before one moment and whole batches that arrived before another.
-- {rows that lost their features, predictions deleted, 1 when there is more to delete}

local budget, rows, predictions = tonumber(ARGV[3]), 0, 0

local function first_before(index, moment)
  if moment == '' then return nil end
  return redis.call('ZRANGEBYSCORE', P .. index, '-inf', '(' .. moment, 'LIMIT', 0, 1)[1]
end

while budget > 0 do
  local arrival = first_before('arrived', ARGV[2])
  if not arrival then break end
  local n, featured = drop_batch(arrival)
  predictions = predictions + n
  if featured then rows = rows + n end
  budget = budget - n - 10
end
while budget > 0 do
  local arrival = first_before('arrived:rows', ARGV[1])
  if not arrival then break end
  local found = redis.call('HMGET', P .. 'm' .. arrival, 'stream', 'n', 'schema')
  drop_features(arrival, found[1], found[3])
  rows = rows + tonumber(found[2])
  budget = budget - 10
end
return {rows, predictions, budget <= 0 and 1 or 0}
