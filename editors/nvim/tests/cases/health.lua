local t = require("harness")

--- The text of `:checkhealth ploke`.
local function report()
  vim.cmd("checkhealth ploke")
  local text = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
  vim.cmd("bwipeout!")
  return text
end

local function has(text, part)
  t.check(text:find(part, 1, true), ("%q is missing in:\n%s"):format(part, text))
end

t.test("all is well", function()
  local root = t.project({})
  t.server(root)
  local text = report()
  has(text, "program: " .. vim.g.ploke.cmd[1])
  has(text, "version: 0.")
  has(text, "protocol: 1")
  has(text, "max_user_watches")
  has(text, "log: " .. vim.env.XDG_STATE_HOME .. "/ploke-io/log")
  has(text, "sidecar of " .. root .. ": running")
  t.check(not text:find("ERROR", 1, true), text)
  t.equal(#t.processes(), 1, "processes after the check")
end)

t.test("before anything runs it says what starts it", function()
  t.project({})
  has(report(), "ploke: ")
end)

t.test("a missing program is an error with advice", function()
  t.project({})
  require("ploke").setup({ cmd = { "/no/such/ploke-io" } })
  local text = report()
  has(text, "ERROR /no/such/ploke-io was not found")
  has(text, "`cargo install --locked --path .`")
end)

t.test("another program is an error", function()
  t.project({})
  require("ploke").setup({ cmd = { "cat", "/dev/null" } })
  has(report(), "does not answer like ploke-io")
end)

t.test("settings that the server refuses are an error", function()
  t.project({})
  require("ploke").setup({ init_options = { watch = { debounce = 5 } } })
  has(report(), "unknown field `debounce`")
end)

t.test("settings of the plugin that are wrong are an error", function()
  t.project({})
  local right = vim.g.ploke
  vim.g.ploke = { comand = { "ploke-io" } }
  local fine, text = pcall(report)
  vim.g.ploke = right
  t.check(fine, text)
  has(text, "there is no setting `comand`")
end)

t.test("another version of the protocol is an error", function()
  t.project({})
  local client = require("ploke.client")
  client.PROTOCOL = 2
  local text = report()
  client.PROTOCOL = 1
  has(text, "it speaks 1, this plugin 2")
end)

t.test("a log directory that can not be written is a warning", function()
  local root = t.project({})
  if vim.uv.getuid() == 0 then
    t.skip("root may write everywhere")
  end
  vim.fn.mkdir(root .. "/log")
  vim.uv.fs_chmod(root .. "/log", 320)
  require("ploke").setup({ init_options = { log = { dir = root .. "/log" } } })
  has(report(), "is not writable")
end)

t.run_all()
