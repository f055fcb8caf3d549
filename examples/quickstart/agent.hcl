# Two sample services, each with a proxy that the agent starts by itself. `npm start` runs this.

service {
  name = "api"
  port = 8081
  connect { proxy {} }
}

service {
  name = "web"
  port = 8080

  connect {
    proxy {
      # web speaks plaintext to its own loopback; its proxy carries that to api's over mutual TLS.
      upstreams {
        destination_name = "api"
        local_bind_port = 9191
      }
    }
  }
}

connect {
  proxy {
    # Only for who tries this as root: an agent that runs as root starts no programs otherwise.
    allow_managed_root = true
  }
}
