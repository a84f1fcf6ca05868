"""The two Lua scripts that run inside Redis (pure).

Keys, all under one hash tag:

- a window is a hash: counts by slot, and `oldest`, `newest` and `total`;
- requests in flight are a sorted set: leases by when they end;
- a budget's period is two hashes by worker: `settled` ("sequence amount", and `sum`), and
  `reserved` where it is not zero;
- `workers` is a sorted set: workers by when they count as gone.

Times are microseconds of Redis' own clock. Amounts of money are written with "%.0f":
Lua's own formatting would round them.
"""

from __future__ import annotations

_SHARED = """
local ask = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]

local function number_of(key, field)
  return tonumber(redis.call('HGET', key, field))
end

-- Until a slot is wholly outside the window.
local function leaves_us(window, slot)
  return (slot + window.slots + 1) * window.width_us - now_us
end

-- Drop what has left a window; give the slot of now, the total, and the newest slot.
-- A clock put back stands still, but by more than the window it begins anew.
local function slide(key, window)
  local slot = math.floor(now_us / window.width_us)
  local newest = number_of(key, 'newest')
  if not newest then return slot, 0, slot end
  if math.abs(slot - newest) > window.slots then
    redis.call('DEL', key)
    return slot, 0, slot
  end
  slot = math.max(slot, newest)
  local oldest, total = number_of(key, 'oldest'), number_of(key, 'total')
  local first = slot - window.slots
  if oldest < first then
    for past = oldest, first - 1 do
      local count = number_of(key, past)
      if count then
        total = total - count
        redis.call('HDEL', key, past)
      end
    end
    redis.call('HSET', key, 'oldest', first, 'total', total)
  end
  return slot, total, newest
end

local function add(key, window, slot, count)
  redis.call('HINCRBY', key, slot, count)
  redis.call('HINCRBY', key, 'total', count)
  redis.call('HSETNX', key, 'oldest', slot)
  redis.call('HSET', key, 'newest', slot)
  redis.call('PEXPIRE', key, window.ttl_ms)
end

local function hold(key, leases)
  for _, lease in ipairs(leases) do
    redis.call('ZADD', key, now_us + ask.lease_us, lease)
  end
  redis.call('PEXPIRE', key, ask.lease_us / 1000)
end

-- What this worker said last of a budget: its sequence and its settled sum.
local function said(settled_key)
  local last = redis.call('HGET', settled_key, ask.worker)
  if not last then return 0, 0 end
  local sequence, settled = string.match(last, '(%d+) (%d+)')
  return tonumber(sequence), tonumber(settled)
end

-- Write this worker's own figures, unless it has said newer ones: calls may overtake.
local function record(settled_key, reserved_key, book)
  local sequence, before = said(settled_key)
  if ask.sequence <= sequence then return end
  redis.call('HSET', settled_key, ask.worker,
    string.format('%d %.0f', ask.sequence, book.settled))
  redis.call('HINCRBY', settled_key, 'sum',
    string.format('%.0f', book.settled - before))
  if book.reserved > 0 then
    redis.call('HSET', reserved_key, ask.worker, string.format('%.0f', book.reserved))
  else
    redis.call('HDEL', reserved_key, ask.worker)
  end
  redis.call('PEXPIRE', settled_key, book.ttl_ms)
  redis.call('PEXPIRE', reserved_key, book.ttl_ms)
end
"""

ADMIT = (
    _SHARED
    + """
local function wait_us(key, window, slot, excess)
  for past = number_of(key, 'oldest') or slot, slot do
    excess = excess - (number_of(key, past) or 0)
    if excess <= 0 then return leaves_us(window, past) end
  end
  return leaves_us(window, slot)
end

-- Per limit: slot, total, microseconds until all is free. Refused: the longest wait.
local stands, refused, longest_us = {}, 0, -1
for i, limit in ipairs(ask.limits) do
  local key, wait = KEYS[i], -1
  if limit.width_us then
    local slot, total, newest = slide(key, limit)
    stands[i] = {slot, total, total > 0 and leaves_us(limit, newest) or 0}
    local excess = total + limit.needed - limit.amount
    if limit.needed > 0 and excess > 0 then
      wait = wait_us(key, limit, slot, excess)
    end
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now_us)
    stands[i] = {0, redis.call('ZCARD', key), 0}
    if stands[i][2] + 1 > limit.amount then wait = math.huge end
  end
  if wait > longest_us then refused, longest_us = i, wait end
end
if refused > 0 then
  if longest_us == math.huge then longest_us = -1 end
  return {refused, longest_us, 0, stands, {}}
end

-- What a worker reserved that is gone will never be settled.
local workers = KEYS[#KEYS]
local function reserved_by_others(key)
  local total, fields = 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if fields[i] ~= ask.worker then
      local ends_us = tonumber(redis.call('ZSCORE', workers, fields[i]))
      if ends_us and ends_us > now_us then
        total = total + tonumber(fields[i + 1])
      else
        redis.call('HDEL', key, fields[i])
      end
    end
  end
  return total
end

-- Where Redis has forgotten, what the database told the worker still counts.
local spends, first_budget = {}, #ask.limits
for i, book in ipairs(ask.budgets) do
  local settled_key = KEYS[first_budget + 2 * i - 1]
  local _, before = said(settled_key)
  local others = (number_of(settled_key, 'sum') or 0) - before
  local spent = math.max(others, book.others) + math.max(before, book.settled)
  spends[i] = spent
  if book.is_hard then
    local reserved = reserved_by_others(KEYS[first_budget + 2 * i])
      + book.reserved - ask.cost
    if spent + reserved >= book.amount then
      return {0, spent >= book.amount and 1 or 0, i, stands, {}}
    end
  end
end

for i, limit in ipairs(ask.limits) do
  if not limit.width_us then
    hold(KEYS[i], {ask.lease})
  elseif limit.needed > 0 then
    add(KEYS[i], limit, stands[i][1], limit.needed)
    stands[i][3] = leaves_us(limit, stands[i][1])
  end
  stands[i][2] = stands[i][2] + limit.needed
end
for i, book in ipairs(ask.budgets) do
  record(KEYS[first_budget + 2 * i - 1], KEYS[first_budget + 2 * i], book)
end
hold(workers, {ask.worker})
return {0, 0, 0, stands, spends}
"""
)
"""Admit a request against everything it asks for, or write nothing of it.

Give (refused limit, its wait in microseconds or -1, refused budget, standings, spends);
the refused are counted from 1, 0 is none. Of a refused budget the second says whether it is
spent (1), or what is left of it reserved (0).
"""

REPORT = (
    _SHARED
    + """
for i, ended in ipairs(ask.ended) do
  local key = KEYS[i]
  if ended.lease then
    redis.call('ZREM', key, ended.lease)
  else
    local now_slot = slide(key, ended)
    local count = number_of(key, ended.slot)
    if count then
      local difference = math.max(ended.difference, -count)
      redis.call('HINCRBY', key, ended.slot, difference)
      redis.call('HINCRBY', key, 'total', difference)
    elseif ended.difference > 0 then
      add(key, ended, now_slot, ended.difference)
    end
  end
end
local at = #ask.ended
for _, book in ipairs(ask.books) do
  record(KEYS[at + 1], KEYS[at + 2], book)
  at = at + 2
end
for i, leases in ipairs(ask.held) do
  hold(KEYS[at + i], leases)
end
local workers = KEYS[#KEYS]
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now_us)
hold(workers, {ask.worker})
"""
)
"""Correct what ended, write the worker's own books, renew what it holds."""
