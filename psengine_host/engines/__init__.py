"""Engines: find (nothing imported) -> load (errors become data) -> run one.

Found, loaded and broken are three types: :class:`~psengine_host.engines.found.FoundEngine`,
:class:`~psengine_host.engines.loaded.Engine` and :class:`~psengine_host.engines.found.BrokenEngine`.
"""
