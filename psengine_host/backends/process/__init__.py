"""The process backend: engines in processes of their own, which may crash, hang and leak."""
