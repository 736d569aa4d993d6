if vim.g.loaded_ploke then
  return
end
vim.g.loaded_ploke = true

-- Everything below only loads the rest of the plugin when it runs.

vim.api.nvim_create_user_command("Ploke", function(command)
  require("ploke.commands").run(command)
end, {
  nargs = "*",
  range = true,
  desc = "Talk to ploke-io, the file sidecar",
  complete = function(...)
    return require("ploke.commands").complete(...)
  end,
})

vim.api.nvim_create_autocmd({ "BufReadPost", "BufNewFile", "BufFilePost" }, {
  group = vim.api.nvim_create_augroup("ploke.autostart", {}),
  desc = "Start ploke-io in the project of a file",
  callback = function(event)
    if vim.bo[event.buf].buftype == "" and event.file ~= "" then
      require("ploke.client").autostart(event.buf)
    end
  end,
})
