"""The geometry of a page's plots, which `templates/plots.svg.j2` draws.

Every position is a percentage: across, of the plot's width; down, of the height of its drawing area. So a
plot fits a phone and a desktop without scaling its text. Times are in seconds.
"""
