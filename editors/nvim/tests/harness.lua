--- What the tests share. Every test runs against the real program in a project of its own.
local M = {}

--- Far beyond what anything takes; reached only by a test that fails.
local PATIENCE_MS = 20000

---@type { name: string, run: fun() }[]
local tests = {}

--- Everything that `vim.notify` was given since the test began.
---@type string[]
M.messages = {}

--- What `vim.notify` was called with instead of being shown.
---@diagnostic disable-next-line: duplicate-set-field
vim.notify = function(message)
  table.insert(M.messages, message)
end

---@param name string what must hold
---@param run fun()
function M.test(name, run)
  table.insert(tests, { name = name, run = run })
end

--- Ends the running test, because the program can't do what it needs.
---@param reason string
function M.skip(reason)
  error({ skip = reason }, 0)
end

--- Skips the running test unless the program lists a method.
---@param root string
---@param method string
function M.needs_method(root, method)
  local methods = M.server(root).capabilities.methods
  if not vim.list_contains(methods, method) then
    M.skip("the program does not have " .. method)
  end
end

--- Skips the running test unless the program follows open buffers.
---@param root string
function M.needs_open_buffers(root)
  if not M.server(root).capabilities.openBuffers then
    M.skip("the program does not follow open buffers")
  end
end

---@param condition any
---@param message string
function M.check(condition, message)
  if not condition then
    error(message, 2)
  end
end

---@param actual any
---@param expected any
---@param what string
function M.equal(actual, expected, what)
  if not vim.deep_equal(actual, expected) then
    error(("%s:\n  expected %s\n  got      %s"):format(what, vim.inspect(expected), vim.inspect(actual)), 2)
  end
end

--- Waits until something holds.
---@param what string
---@param condition fun(): any
function M.wait(what, condition)
  if not vim.wait(PATIENCE_MS, condition, 5) then
    error(("waited in vain for %s; messages: %s"):format(what, vim.inspect(M.messages)), 2)
  end
end

--- Waits for a message that contains a text.
---@param text string
function M.wait_message(text)
  M.wait("a message with: " .. text, function()
    return M.has_message(text)
  end)
end

---@param text string
---@return boolean
function M.has_message(text)
  return vim.iter(M.messages):any(function(message)
    return message:find(text, 1, true) ~= nil
  end)
end

---@param path string
---@param text string
function M.write(path, text)
  vim.fn.mkdir(vim.fs.dirname(path), "p")
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---@param path string
---@return string
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Makes a project with these files and goes there.
---@param files table<string, string>
---@return string root
function M.project(files)
  local root = vim.fs.joinpath(assert(vim.uv.fs_realpath(vim.env.TMPDIR)), "project" .. vim.uv.hrtime())
  vim.fn.mkdir(root .. "/.git", "p")
  for name, text in pairs(files) do
    M.write(vim.fs.joinpath(root, name), text)
  end
  vim.cmd.cd(vim.fn.fnameescape(root))
  return root
end

--- The server of a root, running.
---@param root string
---@return ploke.Server
function M.server(root)
  local ready
  require("ploke.client").ensure(root, function(err, server)
    ready = { err = err, server = server }
  end)
  M.wait("the server", function()
    return ready
  end)
  assert(not ready.err, ready.err and ready.err.message)
  return ready.server
end

--- Waits until the server watches the project.
---@param root string
function M.watching(root)
  M.wait("watching", function()
    return M.call("status", { root = root }).watch.state == "watching"
  end)
end

--- Calls a function of the API with a callback and waits for the result.
---@param name string
---@param ... any
---@return table? result
---@return ploke.Error? err
function M.call(name, ...)
  local arguments = { ... }
  local answer
  table.insert(arguments, function(err, result)
    answer = { err = err, result = result }
  end)
  require("ploke")[name](unpack(arguments))
  M.wait("the answer of " .. name, function()
    return answer
  end)
  return answer.result, answer.err
end

--- Processes of ploke-io that this Neovim has started and that live.
---@return integer[]
function M.processes()
  local program = vim.fs.basename(vim.g.ploke.cmd[1]):sub(1, 15)
  return vim.tbl_filter(function(pid)
    local info = vim.api.nvim_get_proc(pid)
    return info ~= nil and info.name == program
  end, vim.api.nvim_get_proc_children(vim.fn.getpid()))
end

---@param keys string
function M.press(keys)
  vim.api.nvim_feedkeys(vim.keycode(keys), "mx", false)
end

--- The text of the floating window that is open, when one is.
---@return string?
function M.float()
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    if vim.api.nvim_win_get_config(window).relative ~= "" then
      return table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), 0, -1, false), "\n")
    end
  end
end

---@param line integer from 1
---@param text string
function M.type_line(line, text)
  vim.api.nvim_buf_set_lines(0, line - 1, line, false, { text })
end

local function clean_up()
  local client = require("ploke.client")
  for _, server in ipairs(client.servers()) do
    client.stop(server.root, function() end)
  end
  M.wait("the end of all servers", function()
    return #M.processes() == 0 and #vim.lsp.get_clients() == 0
  end)
  vim.cmd("silent! cclose | silent! tabonly | silent! only | silent! %bwipeout!")
  require("ploke").setup({})
end

--- Runs all tests and ends Neovim.
function M.run_all()
  local failures, skipped = 0, 0
  for _, test in ipairs(tests) do
    M.messages = {}
    local fine, problem = xpcall(test.run, function(raised)
      return type(raised) == "table" and raised.skip and raised or debug.traceback(tostring(raised), 2)
    end)
    local cleaned, left = pcall(clean_up)
    if fine and not cleaned then
      fine, problem = false, left
    end
    if fine then
      io.stdout:write("  ok       ", test.name, "\n")
    elseif type(problem) == "table" then
      skipped = skipped + 1
      io.stdout:write("  SKIPPED  ", test.name, ": ", problem.skip, "\n")
    else
      failures = failures + 1
      io.stdout:write("  FAILED   ", test.name, "\n", problem, "\n")
    end
    io.stdout:flush()
  end
  io.stdout:write(("  %d tests, %d failed, %d skipped\n"):format(#tests, failures, skipped))
  vim.cmd("cquit " .. (failures == 0 and #tests > 0 and 0 or 1))
end

return M
