{
  "targets": [
    {
      "target_name": "sidesplice",
      "sources": ["<!@(node native/sources.mjs)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "OPENSSL_API_COMPAT=30000"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden", "-Wall", "-Wextra"],
      "ldflags": ["-Wl,-z,now"]
    },
    {
      "target_name": "sidesplice-load",
      "type": "executable",
      "product_extension": "",
      "sources": ["<!@(node native/sources.mjs load)"],
      "include_dirs": ["native"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra"],
      "ldflags": ["-pthread"]
    }
  ]
}
