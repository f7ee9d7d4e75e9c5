-- {rows deleted, 1 when there may be more to delete}
local deleted, more = clean(now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2]))
return {deleted, more}
