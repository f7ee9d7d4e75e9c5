-- Puts a batch without some of its rows in the place of the batch, unless it was changed meanwhile: 1, else 0.
-- ARGV: arrival, revision, ids that stay, their hashes, ids that go, narrow, rows ('': without features).

local arrival, revision = ARGV[1], ARGV[2]
local staying, going = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[5])
local meta, value = P .. 'm' .. arrival, P .. 'b' .. arrival
local found = redis.call('HMGET', meta, 'revision', 'stream', 'schema')
if found[1] ~= revision or redis.call('EXISTS', value) == 0 then return 0 end
if (found[3] and true or false) ~= (ARGV[7] ~= '') then return 0 end -- the features were pruned meanwhile
local own = P .. 's' .. found[2]

-- The first write. A server that is out of memory refuses it, and nothing has been changed.
redis.call('HSET', meta, 'revision', revision + 1, 'n', #staying, 'ids', ARGV[3], 'hashes', ARGV[4])
redis.call('HSET', value, 'narrow', ARGV[6], 'revision', revision + 1)
if ARGV[7] ~= '' then redis.call('HSET', value, 'rows', ARGV[7]) end
drop_fields(own .. ':ids', going)
drop_fields(P .. 'l' .. arrival, going)
local labelled = redis.call('HLEN', P .. 'l' .. arrival)
if labelled > 0 then
  redis.call('HSET', own .. ':labelled', arrival, labelled)
else
  redis.call('HDEL', own .. ':labelled', arrival)
end
redis.call('INCRBY', P .. 'rows', -#going)
return 1
