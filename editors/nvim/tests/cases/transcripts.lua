--- Replays transcripts of the project's own tests through Neovim's LSP client, with the plugin's configuration.
---
--- Those with steps that a client like this can't do (raw bytes, changes of the environment) are left out.
local t = require("harness")

local directory = vim.env.PLOKE_PLUGIN .. "/../../tests/it/transcripts"

--- These are replayed in any case: the rest may come and go.
local NEEDED = { "edit_guarded", "edit_stale_guard", "edit_transaction", "undo", "scan_content", "snippets_by_text" }

--- These speak of what Neovim does its own way.
local OTHER_HERE = {
  encoding_default = "Neovim offers encodings",
  buffers_no_capability = "Neovim has the capability",
  edit_workspace_edit = "Lua keeps no order of the keys of `changes`",
  status = "a null is absent here",
}

---@class ploke.test.Step
---@field line integer
---@field words string[]
---@field body string

--- The steps of a transcript, or why it can not be replayed here.
---@param text string
---@return ploke.test.Step[]?
---@return string? reason
local function parse(text)
  local steps, line = {}, 0
  for content in vim.gsplit((text:gsub("\n$", "")), "\n", { plain = true }) do
    line = line + 1
    if vim.startswith(content, "-- ") then
      table.insert(steps, { line = line, words = vim.split(content:sub(4), " "), body = "" })
    elseif #steps > 0 then
      steps[#steps].body = steps[#steps].body .. content .. "\n"
    elseif content:match("^marks:.*not%-root") then
      return nil, "not for root"
    end
  end
  for _, step in ipairs(steps) do
    local first, second, third = unpack(step.words)
    local known = ((first == "file" or first == "disk") and #step.words == 2)
      or first == "absent"
      or (first == ">" and second ~= "notify" and third ~= nil and vim.startswith(third, "ploke/"))
      or (first == ">" and second == "notify" and vim.startswith(third, "textDocument/"))
      or (first == "<" and (third == "ok" or third == "error"))
      or (first == "<" and second == "notify" and third == "ploke/fileChanged")
    if not known then
      return nil, table.concat(step.words, " ")
    elseif (step.body .. table.concat(step.words)):find("%$[TUFD]") or step.words[2]:find("\\", 1, true) then
      return nil, "a value that is not known here"
    end
  end
  return steps
end

local function hash_of(text)
  local out = vim.system({ vim.env.B3SUM, "--no-names" }, { stdin = text }):wait()
  assert(out.code == 0, out.stderr)
  return vim.trim(out.stdout)
end

local ESCAPES = { n = "\n", r = "\r", t = "\t", ["\\"] = "\\", ['"'] = '"', ["'"] = "'" }

--- Puts in what `$…` stands for; what was captured only into what is sent.
---@param captured table<string, any>?
local function expand(value, root, captured)
  if type(value) == "string" then
    local name = captured and value:match("^%$ANY%((.*)%)$")
    if name then
      return captured[name]
    end
    local text = value:gsub("%$ROOT", (vim.uri_from_fname(root):gsub("%%", "%%%%")))
    local hashed = text:match("^%$HASH%((.*)%)$")
    if not hashed then
      return text
    end
    hashed = hashed:gsub("\\x(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    return hash_of((hashed:gsub("\\(.)", ESCAPES)))
  elseif type(value) ~= "table" then
    return value
  end
  local expanded = vim.islist(value) and {} or vim.empty_dict()
  for key, member in pairs(value) do
    expanded[type(key) == "string" and expand(key, root) or key] = expand(member, root, captured)
  end
  return expanded
end

local function decode(text)
  return vim.trim(text) ~= "" and vim.json.decode(text, { luanil = { object = true } }) or nil
end

--- Where `actual` is not what the pattern says; nil if nowhere.
---@param captured table<string, any>
local function difference(pattern, actual, captured, at)
  if pattern == ".." then
    return nil
  elseif type(pattern) == "string" then
    local name, part = pattern:match("^%$ANY%((.*)%)$"), pattern:match("^%.%.(.+)%.%.$")
    if name then
      captured[name] = captured[name] or actual
      pattern = captured[name]
    elseif part and type(actual) == "string" and actual:find(part, 1, true) then
      return nil
    end
  elseif type(pattern) == "table" and type(actual) == "table" then
    local open = pattern[".."] ~= nil or (vim.islist(pattern) and pattern[#pattern] == "..")
    for key, member in pairs(pattern) do
      if key ~= ".." and not (open and member == "..") then
        local problem = difference(member, actual[key], captured, at .. "." .. key)
        if problem then
          return problem
        end
      elseif key ~= ".." and not vim.islist(pattern) and actual[key] == nil then
        return at .. "." .. key .. " is missing"
      end
    end
    for key in pairs(actual) do
      if not open and pattern[key] == nil then
        return at .. "." .. key .. " is not expected: " .. vim.inspect(actual[key])
      end
    end
    return nil
  end
  if not vim.deep_equal(pattern, actual) then
    return ("%s: expected %s, got %s"):format(at, vim.inspect(pattern), vim.inspect(actual))
  end
end

--- The pattern with the ids that Neovim has given to the requests.
local function with_ids(pattern, ids)
  if type(pattern) ~= "table" then
    return pattern
  end
  local renamed = {}
  for key, member in pairs(pattern) do
    renamed[key] = key == "requestId" and ids[member] or with_ids(member, ids)
  end
  return renamed
end

--- Does what the steps say.
---@param steps ploke.test.Step[]
local function replay(steps)
  local root = t.project({})
  vim.fn.delete(root .. "/.git", "rf")
  for _, step in ipairs(steps) do
    if step.words[1] == "file" then
      t.write(vim.fs.joinpath(root, step.words[2]), step.body)
    end
  end
  local client_config = require("ploke.client").lsp_config()
  local told = {}
  local config = vim.tbl_deep_extend("force", client_config, {
    root_dir = root,
    workspace_folders = { { uri = vim.uri_from_fname(root), name = "root" } },
    init_options = { watch = { enabled = false } },
    handlers = {
      ["ploke/fileChanged"] = function(err, params, context)
        client_config.handlers["ploke/fileChanged"](err, params, context)
        table.insert(told, params)
      end,
    },
  })
  local id = assert(vim.lsp.start(config, { bufnr = vim.api.nvim_create_buf(false, true) }))
  local client = assert(vim.lsp.get_client_by_id(id))
  t.wait("the server", function()
    return client.initialized
  end)

  local answers, ids, captured = {}, {}, {}
  local function step_of(step)
    local first, second, third = unpack(step.words)
    local place = "line " .. step.line
    if first == ">" and second == "notify" then
      client.rpc.notify(third, expand(decode(step.body), root, captured))
      return
    elseif first == ">" then
      local _, request_id = client.rpc.request(third, expand(decode(step.body), root, captured), function(err, result)
        answers[second] = require("ploke.answer").without_null({ error = err, ok = result })
      end)
      ids[vim.json.decode(second)] = request_id
      return
    elseif first == "disk" then
      return t.equal(t.read(vim.fs.joinpath(root, second)), step.body, place)
    elseif first == "absent" then
      return t.equal(vim.uv.fs_stat(vim.fs.joinpath(root, second)), nil, place)
    elseif first == "file" then
      return
    end
    local pattern = with_ids(expand(decode(step.body), root), ids)
    local actual
    if second == "notify" then
      t.wait(place, function()
        return #told > 0
      end)
      actual = table.remove(told, 1)
    else
      t.wait(place, function()
        return answers[second]
      end)
      local answer = answers[second]
      answers[second] = nil
      actual = answer[third]
      t.check(actual, place .. ": " .. vim.inspect(answer))
    end
    local problem = difference(pattern, actual, captured, place)
    t.check(not problem, problem)
  end
  vim.iter(steps):each(step_of)
  t.equal(told, {}, "notifications that no step claims")
end

local seen = {}
for name in vim.fs.dir(directory) do
  local steps = parse(t.read(vim.fs.joinpath(directory, name)))
  name = vim.fn.fnamemodify(name, ":r")
  if steps and not OTHER_HERE[name] then
    seen[name] = true
    t.test(name, function()
      replay(steps)
    end)
  end
end

t.test("the transcripts that matter most are among them", function()
  for _, name in ipairs(NEEDED) do
    t.check(seen[name], name .. " can not be replayed any more")
  end
end)

t.run_all()
