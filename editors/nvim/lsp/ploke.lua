-- Read by Neovim 0.11 and newer: the base of `vim.lsp.config.ploke`, to which users add their own.
return require("ploke.client").lsp_config()
