{{- define "fashion.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Changes a workload by the values of its component. */ -}}
{{- define "fashion.workload" -}}
{{- $spec := .object.spec }}
{{- $pod := $spec.template.spec }}
{{- $container := first $pod.containers }}
{{- $values := .root.Values }}
{{- if eq .component "redis" }}
  {{- $image := first .base.images }}
  {{- $_ := set $container "image" (printf "%s:%s" $image.newName $image.newTag) }}
  {{- /* Pods of another script are other pods. */}}
  {{- $script := .root.Files.Get "base/start-redis.sh" | sha256sum }}
  {{- $_ := set $spec.template.metadata "annotations" (dict "fashion/start-redis" $script) }}
{{- else }}
  {{- $tag := coalesce $values.image.tag .root.Chart.AppVersion }}
  {{- $_ := set $container "image" (printf "%s%s:%s" $values.image.registry $container.image $tag) }}
{{- end }}
{{- if and (hasKey .own "replicas") .scaled }}
  {{- fail (printf "%s.replicas: its autoscaler would be set back; set autoscaling.minReplicas, or autoscaling to false" .component) }}
{{- end }}
{{- if hasKey .own "replicas" }}{{ $_ := set $spec "replicas" .own.replicas }}{{ end }}
{{- if .own.resources }}{{ $_ := set $container "resources" .own.resources }}{{ end }}
{{- $env := deepCopy (.own.env | default dict) }}
{{- if and $values.profile (ne .component "redis") }}
  {{- $env = merge $env (dict "SERVER_PROFILE" $values.profile) }}
{{- end }}
{{- $all := list }}
{{- range $container.env }}
  {{- if not (hasKey $env .name) }}{{ $all = append $all . }}{{ end }}
{{- end }}
{{- range $name, $value := $env }}
  {{- if kindIs "map" $value }}
    {{- $all = append $all (dict "name" $name "valueFrom" $value) }}
  {{- else }}
    {{- $all = append $all (dict "name" $name "value" (toString $value)) }}
  {{- end }}
{{- end }}
{{- if $all }}{{ $_ := set $container "env" $all }}{{ end }}
{{- with .own.annotations }}
  {{- $_ := set $spec.template.metadata "annotations" (mergeOverwrite (get $spec.template.metadata "annotations" | default dict) .) }}
{{- end }}
{{- with $values.image.pullSecrets }}
  {{- $secrets := list }}
  {{- range . }}{{ $secrets = append $secrets (dict "name" .) }}{{ end }}
  {{- $_ := set $pod "imagePullSecrets" $secrets }}
{{- end }}
{{- with .own.pod }}{{ $_ := mergeOverwrite $pod . }}{{ end }}
{{- with .own.storage }}{{ $_ := mergeOverwrite (first $spec.volumeClaimTemplates).spec . }}{{ end }}
{{- end }}
