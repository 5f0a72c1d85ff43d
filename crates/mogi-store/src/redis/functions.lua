#!lua name=mogi_VERSION
-- What mogi decides inside Redis, where a decision has to be atomic. Every function touches the
-- keys of one slot only. Entries are named by their stream ids, "milliseconds-rest".
--
--   own      what only the owner of a session may change; refused with FENCED under an old epoch
--   take     the same, where it may take much memory: refused while Redis has none left
--   add      messages for a session: several, one whose number is not the greatest any more, QoS 2
--   retain   a retained message, unless there is a newer one; unretain ends one
--   will     the will of a client; unwill ends it
--   claim    makes a node the owner of a client id, and raises its epoch
--   waiting  what a queue holds, without payloads, a page at a time
--   replace  a document, if it is as whoever replaces it has seen it

-- How long a claim lasts under which no session was made, and marks, in milliseconds.
local CLAIM_MS = 86400000
local MARK_MS = 240000
-- Late entries stand behind the last one, with a rest no number has: numbers use 22 bits of it.
local LATE = 4194304
-- What one command takes at most.
local CHUNK = 1000

-- Whether number a is less than b; as text, because they may be larger than Lua's numbers.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function is_fenced(stored, epoch)
  return stored and epoch ~= '0' and less(epoch, stored)
end

local function fenced(stored)
  return redis.error_reply('FENCED the session belongs to epoch ' .. stored)
end

-- Keys of a session, in the order in which they are given.
local SESSION, SUBS, QUEUE, INFLIGHT, RECV, LATE_IDS, LIST = 1, 2, 3, 4, 5, 6, 7

-- Removes everything of a session; how many messages were in flight.
local function wipe(keys, msg, client)
  local flights = redis.call('HVALS', keys[INFLIGHT])
  for _, packet in ipairs(flights) do redis.call('UNLINK', msg .. packet) end
  redis.call('UNLINK', keys[SUBS], keys[QUEUE], keys[INFLIGHT], keys[RECV], keys[LATE_IDS])
  redis.call('HDEL', keys[LIST], client)
  local claim = redis.call('HMGET', keys[SESSION], 'epoch', 'node')
  redis.call('UNLINK', keys[SESSION])
  if claim[1] then
    redis.call('HSET', keys[SESSION], 'epoch', claim[1], 'node', claim[2] or '')
    redis.call('PEXPIRE', keys[SESSION], CLAIM_MS)
  end
  return #flights
end

local function create(keys, no, client, now)
  redis.call('HSET', keys[SESSION], 'no', no, 'created', now)
  redis.call('PERSIST', keys[SESSION])
  redis.call('HSET', keys[LIST], client, no)
  -- An empty stream: messages are added only where there is one.
  redis.call('XGROUP', 'CREATE', keys[QUEUE], 'mogi', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', keys[QUEUE], 'mogi')
end

-- Removes entries from the queue or from flight; how many were in flight.
local function delivered(keys, msg, argv, from, count)
  local ended = 0
  for first = from, from + count - 1, CHUNK do
    local last = math.min(first + CHUNK, from + count) - 1
    local gone = redis.call('XDEL', keys[QUEUE], unpack(argv, first, last))
    if gone <= last - first then
      for at = first, last do
        local id = argv[at]
        local packet = redis.call('HGET', keys[INFLIGHT], id)
        if packet then
          redis.call('HDEL', keys[INFLIGHT], id)
          if redis.call('HGET', msg .. packet, 'entry') == id then
            redis.call('UNLINK', msg .. packet)
          end
          ended = ended + 1
        else
          local late = redis.call('HGET', keys[LATE_IDS], id)
          if late then
            redis.call('XDEL', keys[QUEUE], late)
            redis.call('HDEL', keys[LATE_IDS], id)
          end
        end
      end
    end
  end
  return ended
end

-- Moves an entry from the queue to the messages in flight; 1 if it was not there yet.
local function assigned(keys, msg, id, packet)
  local known = redis.call('HGET', keys[INFLIGHT], id)
  if known then
    if known ~= packet then
      redis.call('RENAME', msg .. known, msg .. packet)
      redis.call('HSET', msg .. packet, 'packet', packet)
      redis.call('HSET', keys[INFLIGHT], id, packet)
    end
    return 0
  end
  local place = redis.call('HGET', keys[LATE_IDS], id) or id
  local found = redis.call('XRANGE', keys[QUEUE], place, place)[1]
  if not found then return 0 end
  redis.call('UNLINK', msg .. packet)
  redis.call('HSET', msg .. packet, 'entry', id, 'packet', packet, 'state', 'sent',
    unpack(found[2]))
  redis.call('HSET', keys[INFLIGHT], id, packet)
  redis.call('XDEL', keys[QUEUE], place)
  if place ~= id then redis.call('HDEL', keys[LATE_IDS], id) end
  return 1
end

-- The client has it: only the packet id counts.
local function released(keys, msg, id)
  local packet = redis.call('HGET', keys[INFLIGHT], id)
  if not packet then return end
  redis.call('UNLINK', msg .. packet)
  redis.call('HSET', msg .. packet, 'entry', id, 'packet', packet, 'state', 'released')
end

-- Whether a message is in the queue, in flight, or came late.
local function is_there(queue, inflight, late, id)
  return #redis.call('XRANGE', queue, id, id) > 0
    or redis.call('HEXISTS', inflight, id) == 1
    or redis.call('HEXISTS', late, id) == 1
end

-- Takes an entry from a session, for another that is to have it; whether it had it. A request that
-- is sent again finds what it said the first time.
local function handed(keys, msg, id, field, parts)
  local there = is_there(keys[QUEUE], keys[INFLIGHT], keys[LATE_IDS], id)
  if not there and redis.call('HGET', keys[RECV], field) ~= parts then return false, 0 end
  local ended = delivered(keys, msg, { id }, 1, 1)
  redis.call('HSET', keys[RECV], field, parts)
  return true, ended
end

-- keys: as above. argv: epoch, number, "msg:{C}:", client id, then changes: a letter and what
-- belongs to it. Replies with what it changed the number of sessions and of flights by, and the
-- entries that were to be handed over and were not there.
local function own(keys, argv)
  local epoch, no, msg, client = argv[1], argv[2], argv[3], argv[4]
  local stored = redis.call('HMGET', keys[SESSION], 'no', 'epoch')
  if is_fenced(stored[2], epoch) then return fenced(stored[2]) end
  local here = stored[1] == no
  local sessions, flights, reply = 0, 0, { 0, 0 }
  local at, count = 5, #argv
  while at <= count do
    local what = argv[at]
    if what == 'S' then
      local changes, away = tonumber(argv[at + 2]), tonumber(argv[at + 3])
      if not here then
        if stored[1] then
          flights = flights - wipe(keys, msg, client)
          sessions = sessions - 1
        end
        create(keys, no, client, argv[at + 1])
        sessions, here, stored[1] = sessions + 1, true, no
      end
      at = at + 4
      redis.call('HSET', keys[SESSION], unpack(argv, at, at + changes - 1))
      at = at + changes
      if away > 0 then redis.call('HDEL', keys[SESSION], unpack(argv, at, at + away - 1)) end
      at = at + away
    elseif what == 'E' then
      if here then
        flights = flights - wipe(keys, msg, client)
        sessions, here, stored[1] = sessions - 1, false, false
      end
      at = at + 1
    elseif what == 'D' then
      local n = tonumber(argv[at + 1])
      if here then flights = flights - delivered(keys, msg, argv, at + 2, n) end
      at = at + 2 + n
    elseif what == 'm' then
      if here then
        local id = argv[at + 1]
        local taken, ended = handed(keys, msg, id, argv[at + 2], argv[at + 3])
        flights = flights - ended
        if not taken then table.insert(reply, id) end
      end
      at = at + 4
    elseif what == 'A' then
      if here then flights = flights + assigned(keys, msg, argv[at + 1], argv[at + 2]) end
      at = at + 3
    elseif what == 'R' then
      if here then released(keys, msg, argv[at + 1]) end
      at = at + 2
    elseif what == 'r' then
      if here then redis.call('HSET', keys[RECV], argv[at + 1], argv[at + 2]) end
      at = at + 3
    elseif what == 'q' then
      if here then redis.call('HDEL', keys[RECV], argv[at + 1]) end
      at = at + 2
    elseif what == 'c' then
      if here and redis.call('HEXISTS', keys[RECV], argv[at + 1]) == 1 then
        redis.call('HSET', keys[RECV], argv[at + 1], 'received')
      end
      at = at + 2
    elseif what == '+' then
      if here then redis.call('HSET', keys[SUBS], argv[at + 1], argv[at + 2]) end
      at = at + 3
    elseif what == '-' then
      if here then redis.call('HDEL', keys[SUBS], argv[at + 1]) end
      at = at + 2
    else
      return redis.error_reply('ERR mogi does not know the change ' .. tostring(what))
    end
  end
  reply[1], reply[2] = sessions, flights
  return reply
end

-- Adds behind the last entry what cannot stand at its own place any more.
local function add_late(keys, id, argv, from, last)
  local info = redis.call('XINFO', 'STREAM', keys[2])
  local top
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
  local ms, rest = string.match(top, '(%d+)%-(%d+)')
  local behind = math.max(tonumber(rest) + 1, LATE)
  local place = ms .. '-' .. string.format('%.0f', behind)
  redis.call('XADD', keys[2], 'NOMKSTREAM', place, 'no', id, unpack(argv, from, last))
  redis.call('HSET', keys[4], id, place)
end

-- keys: session, queue, inflight, late, marks of now, marks of before.
-- argv: number of the session, 1 if each counts but once ever, then per entry: id, count of words,
-- words. Replies with how many were added. All of them are there when anybody reads the queue, or
-- none: nobody finds one and misses one before it that comes late.
local function add(keys, argv)
  local no, once = argv[1], argv[2] == '1'
  if redis.call('HGET', keys[1], 'no') ~= no then return 0 end
  local added = 0
  local at, count = 3, #argv
  while at <= count do
    local id, words = argv[at], tonumber(argv[at + 1])
    local known = once and (redis.call('SISMEMBER', keys[6], id) == 1
      or redis.call('SADD', keys[5], id) == 0)
    if not known then
      local last = at + 1 + words
      -- What Redis takes is greater than all that ever were there.
      local done = redis.pcall('XADD', keys[2], 'NOMKSTREAM', id, unpack(argv, at + 2, last))
      local late = type(done) == 'table' and done.err
      known = late and is_there(keys[2], keys[3], keys[4], id)
      if late and not known then add_late(keys, id, argv, at + 2, last) end
      if not known then added = added + 1 end
    end
    at = at + 2 + words
  end
  if once then redis.call('PEXPIRE', keys[5], MARK_MS) end
  return added
end

-- The version of what is known of a topic, if anything is.
local function version_of(keys, topic)
  local known = redis.call('HGET', keys[2], topic)
  if known then return string.match(known, '^version=(%d+)'), true end
  local gone = redis.call('HGET', keys[3], topic)
  local before = redis.call('HGET', keys[4], topic)
  if gone and before and less(gone, before) then gone = before end
  return gone or before, false
end

-- keys: retained:<topic>, retained-meta:{t}, ended ones of now, of before.
-- argv: topic, version, and of a message: payload, what else is known of it.
-- Replies with what it changed the number of retained messages by.
local function retain(keys, argv)
  local topic, version = argv[1], argv[2]
  local known, there = version_of(keys, topic)
  if known and not less(known, version) then return 0 end
  if argv[3] then
    redis.call('SET', keys[1], argv[3])
    redis.call('HSET', keys[2], topic, argv[4])
    redis.call('HDEL', keys[3], topic)
    return there and 0 or 1
  end
  redis.call('UNLINK', keys[1])
  redis.call('HDEL', keys[2], topic)
  redis.call('HSET', keys[3], topic, version)
  redis.call('PEXPIRE', keys[3], MARK_MS)
  return there and -1 or 0
end

-- keys: session, will, wills:{t}. argv: epoch, client id, and of a will: its fields; or 'published'
-- and what follows from that, which takes the will; or 'done': what it became is in all queues.
-- Replies with 0 where there is nothing to be taken.
local function will(keys, argv)
  local stored = redis.call('HGET', keys[1], 'epoch')
  if is_fenced(stored, argv[1]) then return fenced(stored) end
  if argv[3] == 'done' then
    if redis.call('HEXISTS', keys[2], 'published') == 0 then return 0 end
    argv[3] = nil
  elseif argv[3] == 'published' then
    -- A request that is sent again finds what it said the first time.
    local known = redis.call('HGET', keys[2], 'published')
    if known and known ~= argv[4] then return 0 end
    if not known and redis.call('EXISTS', keys[2]) == 0 then return 0 end
  end
  redis.call('UNLINK', keys[2])
  if argv[3] then
    redis.call('HSET', keys[2], unpack(argv, 3))
    redis.call('HSET', keys[3], argv[2], '1')
  else
    redis.call('HDEL', keys[3], argv[2])
  end
  return 1
end

-- keys: session. argv: node. Replies with the epoch, and the owner and epoch before.
local function claim(keys, argv)
  local before = redis.call('HMGET', keys[1], 'epoch', 'node', 'no')
  local time = redis.call('TIME')
  local epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  epoch = math.max(epoch, tonumber(before[1] or '0') + 1)
  local text = string.format('%.0f', epoch)
  redis.call('HSET', keys[1], 'epoch', text, 'node', argv[1])
  if not before[3] then redis.call('PEXPIRE', keys[1], CLAIM_MS) end
  return { text, before[2] or '', before[1] or '0' }
end

-- keys: as those of own. argv: epoch, "msg:{C}:", client id. Ends the session if nobody has
-- claimed it since; replies with 1 if there was one.
local function end_if(keys, argv)
  local stored = redis.call('HMGET', keys[SESSION], 'epoch', 'no')
  if (stored[1] or '0') ~= argv[1] then return fenced(stored[1] or '0') end
  if not stored[2] then return 0 end
  wipe(keys, argv[2], argv[3])
  return 1
end

-- keys: queue. argv: id to begin behind, or '-'. Replies with id, weight, 1 if of a group, ...
-- and as the last one the id to go on behind, or ''.
local function waiting(keys, argv)
  local from = argv[1] == '-' and '-' or '(' .. argv[1]
  local out, step, bytes, entries = {}, 1, 0, 0
  while true do
    local page = redis.call('XRANGE', keys[1], from, '+', 'COUNT', step)
    local of_page = 0
    for _, entry in ipairs(page) do
      local id, fields = entry[1], entry[2]
      local weight, grouped = 0, '0'
      for i = 1, #fields, 2 do
        local name = fields[i]
        if name == 'topic' or name == 'payload' or name == 'properties' then
          weight = weight + #fields[i + 1]
        elseif name == 'group' then
          grouped = '1'
        elseif name == 'no' then
          id = fields[i + 1]
        end
      end
      out[#out + 1] = id
      out[#out + 1] = tostring(weight)
      out[#out + 1] = grouped
      of_page = of_page + weight
      from = '(' .. entry[1]
    end
    entries, bytes = entries + #page, bytes + of_page
    if #page < step then
      from = '('
      break
    end
    if entries >= CHUNK or bytes >= 1048576 then break end
    if of_page < 131072 then step = math.min(step * 4, CHUNK) end
  end
  out[#out + 1] = string.sub(from, 2)
  return out
end

-- keys: document. argv: version it was made of, name of the change, until when it counts by this
-- clock in milliseconds, text. Replies with the version it has now.
local function replace(keys, argv)
  local now = redis.call('HMGET', keys[1], 'version', 'change')
  if now[2] == argv[2] then return now[1] end
  local time = redis.call('TIME')
  if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(argv[3]) then
    return redis.error_reply('LATE too late: its writer has given it up')
  end
  if (now[1] or '0') ~= argv[1] then return redis.error_reply('OUTRUN changed meanwhile') end
  local version = string.format('%.0f', tonumber(argv[1]) + 1)
  redis.call('HSET', keys[1], 'version', version, 'change', argv[2], 'document', argv[4])
  return version
end

local function register(name, callback, ...)
  redis.register_function { function_name = 'mogi_VERSION_' .. name, callback = callback, flags = { ... } }
end

register('own', own, 'allow-oom')
register('take', own)
register('add', add)
register('retain', retain)
register('unretain', retain, 'allow-oom')
register('will', will)
register('unwill', will, 'allow-oom')
register('claim', claim, 'allow-oom')
register('end_if', end_if, 'allow-oom')
register('waiting', waiting, 'no-writes')
register('replace', replace)
