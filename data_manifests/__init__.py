"""The data manifests: one YAML file for each data set, installed as ``leukemia_tf.data_manifests``."""
