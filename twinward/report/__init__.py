"""Reports as one self-contained HTML file: a shell that all share, and plots as inline SVG."""
