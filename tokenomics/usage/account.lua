-- One account: budgets and windows packed into one key, leases and the steps of windows beside it.
-- Each call is one step.
--
-- The same law as policy/limits.py, for proxies that count in one place:
--   settled + held <= limit after each step that takes.
--
-- KEYS     the account, its leases by id, their ids by when they expire, the steps of its windows;
--          all in one slot
-- ARGV[1]  what to do; ARGV[2]  JSON, see each function; ARGV[3] a lease's id, or ""
--
-- An account: b = {key = {spent, held, ends, restored}}, w = {key = {total, held, number of the
-- first step, of the last}}, n = leases that run. A step: {newest, amount, oldest, held}; only those
-- are read that a call needs. A lease: {holds, lapsed, settled}. A hold: {key, unit, {{ticket,
-- amount}...}}; the ticket of a budget is 0, of a window the number of its step.
-- A due: {key, unit, most, window, fixed, ends, base, per output token, steps of its window}.

local STEPS = 200      -- of a sliding window; one counts until its newest entry leaves
local LAPSED = 3600    -- seconds for which it is known what became of a lease
local REQUESTS = "requests"

local time = redis.call("TIME")
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local op, lease_id = ARGV[1], ARGV[3]
local given = cjson.decode(ARGV[2])
local packed = redis.call("GET", KEYS[1])
local account = packed and cmsgpack.unpack(packed) or {b = {}, w = {}, n = 0}

local function exact(number)
  return string.format("%.17g", number)
end

-- What the keys of a budget's periods have in common.
local function rule_of(key)
  return string.match(key, "^(.*)@") or ""
end

local function budget(key, ends)
  local found = account.b[key]
  if not found then
    local rule = rule_of(key)
    for other, b in pairs(account.b) do
      local over = b[3] > 0 and b[3] <= now and b[2] == 0
      if over and rule_of(other) == rule then account.b[other] = nil end
    end
    found = {0, 0, ends, 0}
    account.b[key] = found
  end
  return found
end

local function window(key)
  local found = account.w[key]
  if not found then
    found = {0, 0, 1, 0}
    account.w[key] = found
  end
  return found
end

local steps = {}  -- what was read or made, by field; false: none, or no longer

local function field_of(key, number) return key .. "#" .. number end

local function step_of(key, number)
  local field = field_of(key, number)
  if steps[field] == nil then
    local found = redis.call("HGET", KEYS[4], field)
    steps[field] = found and {struct.unpack("dddd", found)} or false
  end
  return steps[field]
end

local function save_steps()
  for field, step in pairs(steps) do
    if not step then
      redis.call("HDEL", KEYS[4], field)
    elseif step.changed then
      redis.call("HSET", KEYS[4], field, struct.pack("dddd", unpack(step)))
    end
  end
end

-- What a due counts in: {total, held, ...}, without what has left its window.
local function counted(due)
  if due[4] == 0 then
    local b = budget(due[1], due[6])
    return {b[1] + b[2], b[2]}
  end
  local w = window(due[1])
  local edge = now - due[4]
  if due[5] then edge = math.floor(now / due[4]) * due[4] end
  while w[3] <= w[4] do
    local step = step_of(due[1], w[3])
    if step and (step[1] > edge or (due[5] and step[1] == edge)) then break end
    if step then w[1], w[2] = w[1] - step[2], w[2] - step[4] end
    steps[field_of(due[1], w[3])] = false
    w[3] = w[3] + 1
  end
  if w[3] > w[4] then w[1], w[2] = 0, 0 end  -- whatever became of its steps
  return w
end

-- Count an amount; `held` is the part of it that may be given back. Answers the ticket.
local function add(due, amount, held)
  if due[4] == 0 then
    local b = budget(due[1], due[6])
    b[1], b[2] = b[1] + amount - held, b[2] + held
    return 0
  end
  local w = window(due[1])
  local last = w[3] <= w[4] and step_of(due[1], w[4])
  if not last or not (due[5] or now - last[3] < due[4] / STEPS) then
    last = {now, 0, now, 0}
    w[4] = w[4] + 1
    steps[field_of(due[1], w[4])] = last
  end
  last[1] = math.max(last[1], now)
  last[2], last[4] = last[2] + amount, last[4] + held
  last.changed = true
  w[1], w[2] = w[1] + amount, w[2] + held
  return w[4]
end

-- Count `cost` where `held` was.
local function settle(key, ticket, held, cost)
  if ticket == 0 then
    local b = account.b[key]
    if b then b[1], b[2] = b[1] + cost, b[2] - held end
    return
  end
  local w = account.w[key]
  local step = w and ticket >= w[3] and step_of(key, ticket)
  if step then
    step[2], step[4] = step[2] + cost - held, step[4] - held
    step.changed = true
    w[1], w[2] = w[1] + cost - held, w[2] - held
  end
end

local function give_back(lease)
  for _, hold in ipairs(lease.holds) do
    if hold[2] ~= REQUESTS then
      for _, taken in ipairs(hold[3]) do settle(hold[1], taken[1], taken[2], 0) end
      hold[3] = {}
    end
  end
end

local function lease_of(id)
  local found = redis.call("HGET", KEYS[2], id)
  return found and cmsgpack.unpack(found)
end

local function keep(id, lease, seconds)
  redis.call("HSET", KEYS[2], id, cmsgpack.pack(lease))
  redis.call("ZADD", KEYS[3], exact(now + seconds), id)
end

local function drop(id)
  redis.call("HDEL", KEYS[2], id)
  redis.call("ZREM", KEYS[3], id)
end

-- Their proxy is gone, or cut off: what they held is free again. Answers whether there were any.
local function expire_leases()
  local ids = redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", exact(now), "LIMIT", 0, 100)
  for _, id in ipairs(ids) do
    local lease = lease_of(id)
    if not lease or lease.lapsed then
      drop(id)
    else
      give_back(lease)
      lease.lapsed, account.n = true, account.n - 1
      keep(id, lease, LAPSED)
    end
  end
  return #ids > 0
end

-- Seconds until `excess` has left a window.
local function wait(due, excess)
  if due[5] then return due[4] - now % due[4] end
  local w = window(due[1])
  for number = w[3], w[4] do
    local step = step_of(due[1], number)
    excess = excess - (step and step[2] or 0)
    if step and excess <= 0 then return math.max(step[1] + due[4] - now, 0) end
  end
  return due[4]
end

-- How much output fits: {"fit", held, cap or -1}; or why none does.
local function fit(dues, want)
  local room = want.whole
  for i, due in ipairs(dues) do
    local c = counted(due)
    local free = due[3] - (c[1] - c[2]) - due[7]
    if free < due[8] * want.least then
      local need = due[7] + due[8] * want.least
      local seconds = -1
      if due[4] > 0 and need <= due[3] then seconds = wait(due, c[1] + need - due[3]) end
      return {"full", exact(i - 1), exact(c[1]), exact(need), exact(seconds)}
    end
    if due[8] > 0 then room = math.min(room, math.floor(free / due[8])) end
  end
  local first = room
  if want.step > 0 then first = math.min(want.step, room) end
  local available, tightest, total = room, nil, 0
  for i, due in ipairs(dues) do
    local c = counted(due)
    local free = due[3] - c[1] - due[7]
    local fits = available
    if due[8] > 0 then fits = math.floor(free / due[8]) elseif free < 0 then fits = -1 end
    if fits < available then available, tightest, total = fits, i, c[1] end
  end
  local needed = first
  if want.step > 0 then needed = math.min(want.least, first)
  elseif want.enough > 0 then needed = math.min(want.enough, first) end
  if available < needed and tightest then
    return {"held", exact(tightest - 1), exact(total)}
  end
  local held = math.min(first, available)
  local most = held
  if want.step > 0 then most = math.min(room, available) end
  return {"fit", held, most < want.whole and most or -1}
end

local function take(lease, dues, output)
  local totals = {}
  for _, due in ipairs(dues) do
    local amount = due[7] + due[8] * output
    local held = due[2] == REQUESTS and 0 or amount
    local ticket = add(due, amount, held)
    lease.holds[#lease.holds + 1] = {due[1], due[2], {{ticket, amount}}}
    totals[#totals + 1] = exact(counted(due)[1])
  end
  return totals
end

local function answer(found, totals)
  local out = {"lease", exact(found[2]), exact(found[3])}
  for _, total in ipairs(totals) do out[#out + 1] = total end
  return out
end

local function is_counted(due) return due[2] ~= REQUESTS end

local function only(list, keep)
  local out = {}
  for _, item in ipairs(list) do
    if keep(item) then out[#out + 1] = item end
  end
  return out
end

local ops = {}

-- {parallel, dues, want, ttl}
function ops.admit()
  if given.parallel > 0 and account.n >= given.parallel then
    return {"parallel", exact(account.n)}
  end
  local found = fit(given.dues, given.want)
  if found[1] ~= "fit" then return found end
  if lease_id == "" then return answer(found, {}) end  -- a trial
  local lease = {holds = {}}
  local totals = take(lease, given.dues, found[2])
  keep(lease_id, lease, given.ttl)
  account.n = account.n + 1
  return answer(found, totals)
end

-- The lease of a request that runs. One that the database has lost is as one that lapsed.
local function running() return lease_of(lease_id) or {holds = {}, lapsed = true} end

-- Keep it; one that had lapsed counts as running again.
local function keep_running(lease)
  if lease.lapsed then lease.lapsed, account.n = nil, account.n + 1 end
  keep(lease_id, lease, given.ttl)
end

-- {dues, output, had, ttl}: one that lapsed takes what it `had` with it, or nothing.
function ops.extend()
  local lease = running()
  local dues, output = only(given.dues, is_counted), given.output
  for _, due in ipairs(dues) do
    local before = lease.lapsed and due[7] + due[8] * given.had or 0
    local free = due[3] - counted(due)[1] - before
    if due[8] > 0 then output = math.min(output, math.floor(free / due[8])) end
  end
  if output <= 0 then return {"0"} end
  if lease.lapsed then
    lease.holds = {}
    take(lease, dues, given.had)
  end
  local by_key = {}
  for _, hold in ipairs(lease.holds) do by_key[hold[1]] = hold end
  for _, due in ipairs(dues) do
    local hold, amount = by_key[due[1]], due[8] * output
    if amount > 0 and hold then hold[3][#hold[3] + 1] = {add(due, amount, amount), amount} end
  end
  keep_running(lease)
  return {exact(output)}
end

-- {dues, want, ttl}
function ops.move()
  local lease = running()
  give_back(lease)
  local dues = only(given.dues, is_counted)
  local found = fit(dues, given.want)
  local totals = {}
  if found[1] == "fit" then
    lease.holds = only(lease.holds, function(hold) return hold[2] == REQUESTS end)
    totals = take(lease, dues, found[2])
  end
  keep_running(lease)
  return found[1] == "fit" and answer(found, totals) or found
end

-- {dues, tokens, cost, force}: answers what was spent of each due before and after. Without `force`
-- a lease that is not known was settled before. One that is not known and is charged all the same, or
-- that had lapsed, is remembered for a while, so that it can be asked for again.
function ops.settle()
  local lease = lease_of(lease_id)
  if lease and lease.settled or not lease and not given.force then return {"gone"} end
  local by_key, out = {}, {"settled"}
  for _, hold in ipairs(lease and lease.holds or {}) do by_key[hold[1]] = hold end
  for _, due in ipairs(only(given.dues, is_counted)) do
    local cost = due[2] == "cost" and given.cost or given.tokens
    local c = counted(due)
    out[#out + 1] = exact(c[1] - c[2])
    local hold = by_key[due[1]] or {}
    local taken = hold[3] or {}
    if #taken == 0 then taken = {{add(due, 0, 0), 0}} end
    for i, t in ipairs(taken) do
      local part = i == #taken and cost or math.min(cost, t[2])
      settle(due[1], t[1], t[2], part)
      cost = cost - part
    end
    hold[3] = {}
    c = counted(due)
    out[#out + 1] = exact(c[1] - c[2])
  end
  if lease then give_back(lease) end  -- what it took in a move that its proxy has not heard of
  if lease and not lease.lapsed then
    account.n = account.n - 1
    drop(lease_id)
  else
    keep(lease_id, {holds = {}, lapsed = true, settled = true}, LAPSED)
  end
  return out
end

-- {ids, ttl}: their proxy still has them.
function ops.renew()
  for _, id in ipairs(given.ids) do
    local ends = tonumber(redis.call("ZSCORE", KEYS[3], id) or math.huge)
    if ends < now + given.ttl then redis.call("ZADD", KEYS[3], exact(now + given.ttl), id) end
  end
  return {"renewed"}
end

-- {budgets = {{key, spent, ends}...}}: what a proxy remembers of a database that was emptied. What
-- was spent since is counted on top of what the one who remembers most says.
function ops.restore()
  for _, row in ipairs(given.budgets) do
    local b = budget(row[1], row[3])
    local more = math.max(row[2] - b[4], 0)
    b[1], b[4] = b[1] + more, b[4] + more
  end
  return {"restored"}
end

-- {dues}: how each stands, its total and what of it is held, for who looks.
function ops.show()
  local out = {exact(account.n)}
  for _, due in ipairs(given.dues) do
    local c = counted(due)
    out[#out + 1], out[#out + 2] = exact(c[1]), exact(c[2])
  end
  return out
end

local lapsed = expire_leases()
local reply = ops[op]()
local looks = op == "show" or (op == "admit" and lease_id == "")
if lapsed or not looks then
  save_steps()
  if account.n == 0 and not next(account.b) and not next(account.w) then
    redis.call("DEL", KEYS[1])
  else
    redis.call("SET", KEYS[1], cmsgpack.pack(account))
  end
end
return reply
