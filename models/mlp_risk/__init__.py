"""Risk of heart disease by a small neural network over the inputs of ``cardiac_risk``.

The second family of models that a run can train: it shows that nothing between plan and evidence
depends on a model being linear. ``risk`` is the model as the registry gives it out, ``module`` the
same prediction as a torch module. No file, no network, no patient data.
"""
