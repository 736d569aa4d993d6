local t = require("harness")
local client = require("ploke.client")

local quick = { restart = { attempts = 2, delay_ms = 50, max_delay_ms = 60 } }

local function pid()
  local processes = t.processes()
  t.equal(#processes, 1, "number of processes")
  return processes[1]
end

local function kill()
  local killed = pid()
  vim.uv.kill(killed, "sigkill")
  t.wait("the end of the process", function()
    return not vim.list_contains(t.processes(), killed)
  end)
end

t.test("the server starts with the first file of a project and opens its buffers", function()
  local root = t.project({ ["a.txt"] = "one\n", ["b.txt"] = "two\n" })
  t.equal(#t.processes(), 0, "processes before")
  vim.cmd.edit("a.txt")
  t.server(root)
  vim.cmd.edit("b.txt")
  t.equal(#t.processes(), 1, "processes")
  for _, name in ipairs({ "a.txt", "b.txt" }) do
    t.wait("the attachment of " .. name, function()
      return #vim.lsp.get_clients({ bufnr = vim.fn.bufnr(name), name = "ploke" }) == 1
    end)
  end
end)

t.test("a file outside of every project starts nothing", function()
  t.project({})
  local path = vim.fn.tempname()
  t.write(path, "lonely\n")
  vim.cmd.edit(path)
  t.equal(require("ploke.roots").of(path), nil, "root")
  t.equal(#t.processes(), 0, "processes")
end)

t.test("autostart can be turned off", function()
  t.project({ ["a.txt"] = "one\n" })
  require("ploke").setup({ autostart = false })
  vim.cmd.edit("a.txt")
  t.equal(#t.processes(), 0, "processes")
end)

t.test("two projects have a server each", function()
  local first = t.project({ ["a.txt"] = "one\n" })
  local second = t.project({ ["a.txt"] = "two\n" })
  t.server(first)
  t.server(second)
  t.equal(#t.processes(), 2, "processes")
  t.equal(t.call("status", { root = first }).roots, { vim.uri_from_fname(first) }, "roots of the first")
end)

t.test("a killed server comes back with its buffers", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  require("ploke").setup(quick)
  vim.cmd.edit("a.txt")
  t.server(root)
  kill()
  t.wait_message("signal 9")
  t.equal(t.call("status").roots, { vim.uri_from_fname(root) }, "roots")
  t.wait("the attachment", function()
    return #vim.lsp.get_clients({ bufnr = 0, name = "ploke" }) == 1
  end)
  t.equal(#t.processes(), 1, "processes")
end)

t.test("each restart waits longer, and after too many it is given up", function()
  local root = t.project({})
  require("ploke").setup(quick)
  for _, delay in ipairs({ "0.05 s", "0.06 s" }) do
    t.server(root)
    kill()
    t.wait_message("again in " .. delay)
  end
  t.server(root)
  kill()
  t.wait_message(":Ploke restart")
  vim.cmd("Ploke restart")
  t.wait_message("ploke-io runs")
  t.equal(#t.processes(), 1, "processes")
end)

t.test("a request that the dying server has not answered fails", function()
  local root = t.project({ ["slow.rs"] = ("fn f() { g(1, 2, 3) }\n"):rep(50000) })
  require("ploke").setup(quick)
  t.server(root)
  local answers = {}
  local file = {
    uri = vim.uri_from_fname(root .. "/slow.rs"),
    expected = { trackingHash = "11111111-2222-5333-8444-555555555555" },
  }
  require("ploke").scan({ files = { file } }, function(err)
    table.insert(answers, err and err.message or "answered")
  end)
  kill()
  t.wait("the answer", function()
    return #answers == 1
  end)
  t.check(answers[1]:find("before it answered", 1, true), answers[1])
end)

t.test("a restart replaces the process", function()
  local root = t.project({})
  t.server(root)
  local before = pid()
  vim.cmd("Ploke restart")
  t.wait_message("ploke-io runs")
  t.check(pid() ~= before, "it is the same process")
  t.check(not t.has_message("has ended"), "a wanted end was told as a crash")
end)

t.test("a call while the server is being stopped is answered by the next one", function()
  local root = t.project({})
  t.server(root)
  local before, gone = pid(), false
  client.stop(root, function()
    gone = true
  end)
  t.equal(t.call("status").roots, { vim.uri_from_fname(root) }, "roots")
  t.equal(gone, true, "told that the first is gone")
  t.check(pid() ~= before, "it is the same process")
end)

t.test("a missing program is told with what to do, and once", function()
  t.project({ ["a.txt"] = "one\n", ["b.txt"] = "two\n" })
  require("ploke").setup({ cmd = { "/no/such/ploke-io" } })
  vim.cmd.edit("a.txt")
  t.wait_message("/no/such/ploke-io was not found")
  vim.cmd.edit("b.txt")
  local _, err = t.call("status")
  t.check(err.message:find("vim.g.ploke", 1, true), err.message)
  t.equal(#vim.tbl_filter(function(message)
    return message:find("was not found", 1, true)
  end, t.messages), 1, "number of messages")
end)

t.test("a program that is no server is told", function()
  t.project({})
  require("ploke").setup({ cmd = { "false" }, restart = quick.restart })
  local _, err = t.call("status")
  t.check(err.message:find("again and again", 1, true), err.message)
end)

t.test("settings that the server refuses are told, and nothing is left running", function()
  t.project({})
  require("ploke").setup({ init_options = { watch = { debounce = 5 } } })
  local _, err = t.call("status")
  t.check(err.message:find("unknown field `debounce`", 1, true), err.message)
  t.wait("the end of the process", function()
    return #t.processes() == 0
  end)
end)

t.test("another version of the protocol is told, and nothing is left running", function()
  t.project({})
  client.PROTOCOL = 2
  local _, err = t.call("status")
  client.PROTOCOL = 1
  t.check(err.message:find("speaks protocol 1, this plugin needs 2", 1, true), err.message)
  t.wait("the end of the process", function()
    return #t.processes() == 0
  end)
end)

t.test("an unknown setting is refused with its name", function()
  local fine, message = pcall(require("ploke").setup, { restart = { delay = 5 } })
  t.equal(fine, false, "raised")
  t.check(message:find("restart.delay", 1, true), message)
end)

t.test("Neovim's own LSP configuration can be used and extended", function()
  if vim.fn.has("nvim-0.11") == 0 then
    t.skip("vim.lsp.config came with Neovim 0.11")
  end
  local root = t.project({ ["a.txt"] = "one\n" })
  require("ploke").setup({ autostart = false })
  vim.lsp.config("ploke", { init_options = { watch = { enabled = false } } })
  vim.lsp.enable("ploke")
  vim.cmd.edit("a.txt")
  vim.bo.filetype = "text"
  t.equal(t.call("status").watch.state, "off", "watching")
  t.equal(t.server(root).capabilities.protocol, 1, "protocol")
  t.equal(#t.processes(), 1, "processes")
  vim.lsp.enable("ploke", false)
  vim.lsp.config("ploke", { init_options = { watch = { enabled = true } } })
end)

t.test("leaving Neovim ends the server", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local script = root .. "/leave.lua"
  t.write(
    script,
    [[
    vim.cmd.edit("a.txt")
    local pid
    require("ploke").status(function(err)
      assert(not err, err)
      local children = vim.api.nvim_get_proc_children(vim.fn.getpid())
      io.stdout:write(table.concat(children, " "))
      vim.cmd("qall")
    end)
  ]]
  )
  local out = vim
    .system({
      vim.v.progpath,
      "--clean",
      "--headless",
      "--cmd",
      "set rtp^=" .. vim.env.PLOKE_PLUGIN,
      "--cmd",
      "let g:ploke = {'cmd': ['" .. vim.g.ploke.cmd[1] .. "']}",
      "-c",
      "luafile " .. script,
    }, { cwd = root })
    :wait(20000)
  t.equal(out.code, 0, "exit code (" .. (out.stderr or "") .. ")")
  t.check(not (out.stderr .. out.stdout):find("has ended", 1, true), "a wanted end was told: " .. out.stderr)
  local server = tonumber(out.stdout)
  t.check(server, "no process id in: " .. out.stdout)
  t.wait("the end of the server", function()
    return vim.uv.kill(server, 0) ~= 0
  end)
end)

t.run_all()
