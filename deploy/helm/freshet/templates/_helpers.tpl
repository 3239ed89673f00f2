{{- define "freshet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What tells the pods of a component from all others; it never changes. Takes a list: the root, the component. */}}
{{- define "freshet.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "freshet.labels" -}}
{{- $root := index . 0 -}}
{{ include "freshet.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "freshet.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "freshet.fullname" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "freshet.labels" . | nindent 2 }}
{{- end -}}

{{- define "freshet.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The image and its confinement, for each container. */}}
{{- define "freshet.container" -}}
image: {{ include "freshet.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What every pod has. No process speaks to Kubernetes, so none has a token for it. */}}
{{- define "freshet.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where the pods of a component may run. Takes its values. */}}
{{- define "freshet.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The flags of whoever connects to NATS, as a list of YAML. Takes the root and the role. */}}
{{- define "freshet.args" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.nats.inboxPrefix }}
- --inbox-prefix={{ . }}{{ index $ 1 }}
{{- end }}
{{- with $root.Values.namespace }}
- --namespace={{ . }}
{{- end }}
- --log-level={{ $root.Values.logLevel }}
{{- end -}}

{{- define "freshet.nats.env" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- with $root.Values.nats -}}
- {name: NATS_URL, value: {{ .url | quote }}}
{{- if eq .auth "creds" }}
- {name: NATS_CREDS, value: /run/freshet/nats/{{ $role }}.creds}
{{- else }}
- {name: NATS_USER, value: {{ index .users $role | quote }}}
- name: NATS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret }}, key: {{ $role }}-password}
{{- end }}
{{- if .tls.existingSecret }}
- {name: NATS_CA, value: /run/freshet/nats-tls/ca.crt}
{{- if .tls.clientCertificate }}
- {name: NATS_CERT, value: /run/freshet/nats-tls/tls.crt}
- {name: NATS_KEY, value: /run/freshet/nats-tls/tls.key}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "freshet.nats.mounts" -}}
{{- with .Values.nats -}}
{{- if eq .auth "creds" }}
- {name: nats, mountPath: /run/freshet/nats, readOnly: true}
{{- end }}
{{- if .tls.existingSecret }}
- {name: nats-tls, mountPath: /run/freshet/nats-tls, readOnly: true}
{{- end }}
{{- end -}}
{{- end -}}

{{/* A role gets its own credentials and no other's. */}}
{{- define "freshet.nats.volumes" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- with $root.Values.nats -}}
{{- if eq .auth "creds" }}
- name: nats
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items: [{key: {{ $role }}.creds, path: {{ $role }}.creds}]
{{- end }}
{{- if .tls.existingSecret }}
- name: nats-tls
  secret:
    secretName: {{ .tls.existingSecret }}
    defaultMode: 0440
    items:
      - {key: ca.crt, path: ca.crt}
      {{- if .tls.clientCertificate }}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* A volume with some of the keysets. Takes the root, the volume's name and the keysets. */}}
{{- define "freshet.keysets.volume" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  secret:
    secretName: {{ $root.Values.keysets.existingSecret }}
    defaultMode: 0440
    items:
      {{- range index . 2 }}
      - {key: {{ . }}.keyset.json, path: {{ . }}.keyset.json}
      {{- end }}
{{- end -}}

{{/* What a process shows of itself. Takes the port. */}}
{{- define "freshet.metrics.args" -}}
- --metrics-listen=:{{ . }}
- --metrics-tls-cert=/run/freshet/metrics-tls/tls.crt
- --metrics-tls-key=/run/freshet/metrics-tls/tls.key
- --metrics-token-file=/run/freshet/metrics-token/token
{{- end -}}

{{- define "freshet.metrics.mounts" -}}
- {name: metrics-tls, mountPath: /run/freshet/metrics-tls, readOnly: true}
- {name: metrics-token, mountPath: /run/freshet/metrics-token, readOnly: true}
{{- end -}}

{{- define "freshet.metrics.volumes" -}}
- name: metrics-tls
  secret:
    secretName: {{ .Values.metrics.tls.existingSecret }}
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
- name: metrics-token
  secret:
    secretName: {{ .Values.metrics.token.existingSecret }}
    defaultMode: 0440
    items: [{key: token, path: token}]
{{- end -}}

{{/* The probes show no token: they get the bare status. Takes the port's name. */}}
{{- define "freshet.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: {{ . }}, scheme: HTTPS}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /livez, port: {{ . }}, scheme: HTTPS}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}, scheme: HTTPS}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{- define "freshet.prefix" -}}
{{- with .Values.namespace }}{{ . }}_{{ end -}}
{{- end -}}

{{/* Not empty where there are providers to apply. */}}
{{- define "freshet.applies" -}}
{{- with .Values.apply -}}
{{- if and .enabled (or .providers .existingConfigMap) }}yes{{ end -}}
{{- end -}}
{{- end -}}
